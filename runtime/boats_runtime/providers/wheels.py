"""The installed ONNX Runtime: one of several wheels with the same import name, and plugins.

The wheels overwrite each other's files (microsoft/onnxruntime#26996, #10685): if two of them are
installed, it is undefined which one runs, and removing one breaks the other.
"""

import importlib
import importlib.util
import os
import sys
from typing import Any

from boats_runtime.errors import ProviderError, first_line
from boats_runtime.installation import install_command

WHEELS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
)
"""Distributions that install the package `onnxruntime`."""

PLUGINS = {
    "OpenVINOExecutionProvider": "onnxruntime_ep_openvino",
    "NvTensorRTRTXExecutionProvider": "onnxruntime_ep_nv_tensorrt_rtx",
}
"""Modules of the providers that are installed separately and registered with any wheel."""


def find_wheels() -> dict[str, str]:
    """Return the versions of the installed distributions of ONNX Runtime."""
    # importlib.metadata finds the same, but imports the email package, which delays every start.
    wheels = {wheel.replace("-", "_"): wheel for wheel in WHEELS}
    versions: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            wheel, _, version = name.removesuffix(".dist-info").partition("-")
            if name.endswith(".dist-info") and wheel in wheels:
                versions.setdefault(wheels[wheel], version)
    return {wheel: versions[wheel] for wheel in WHEELS if wheel in versions}


def import_onnxruntime() -> Any:
    """Import ONNX Runtime after checking that exactly one wheel is installed.

    Raises:
        ProviderError: If no wheel or more than one is installed, or the package is broken because
            one of two wheels was removed.
    """
    installed = list(find_wheels())
    if len(installed) > 1:
        raise ProviderError(
            f"{' and '.join(installed)} are both installed and overwrite each other: "
            f"pip uninstall -y {' '.join(installed)}, then {_describe_install()}"
        )
    if not installed and importlib.util.find_spec("onnxruntime") is None:
        raise ProviderError(f"ONNX Runtime is not installed: {_describe_install()}")
    try:
        import onnxruntime  # noqa: PLC0415

        onnxruntime.InferenceSession  # noqa: B018
    except (ImportError, AttributeError) as error:
        raise ProviderError(
            f"ONNX Runtime is installed but broken ({error}): "
            f"pip uninstall -y {' '.join(WHEELS[:2])}, then {_describe_install()}"
        ) from error
    # Errors are raised and reported once; the log would only repeat them.
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def find_plugin_devices(runtime: Any, full_name: str) -> list[Any]:
    """Return the devices on which the plugin of a provider can run; empty without the plugin.

    Args:
        runtime: ONNX Runtime.
        full_name: Name of the provider in ONNX Runtime.

    Raises:
        ProviderError: If the plugin is installed but cannot be loaded.
    """
    name = PLUGINS.get(full_name)
    if name is None or importlib.util.find_spec(name) is None:
        return []
    devices = _list_devices(runtime, full_name)
    if devices:
        return devices
    try:
        plugin = importlib.import_module(name)
        runtime.register_execution_provider_library(name, plugin.get_library_path())
    except Exception as error:
        message = first_line(error)
        if "already" not in message:
            raise ProviderError(f"{name} cannot be loaded: {message}") from error
    return _list_devices(runtime, full_name)


def _describe_install() -> str:
    return f"{install_command('cpu')}, or for CUDA {install_command('gpu')}"


def _list_devices(runtime: Any, full_name: str) -> list[Any]:
    return [device for device in runtime.get_ep_devices() if device.ep_name == full_name]
