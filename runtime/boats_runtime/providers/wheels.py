"""Which ONNX Runtime is installed: wheels of one import name, and plugins beside them.

The wheels overwrite each other's files (microsoft/onnxruntime#26996, #10685): with two of them
installed nobody knows which one runs, and removing one guts the other.
"""

import importlib
import importlib.util
import os
import sys
from typing import Any

from boats_runtime.errors import ProviderError, first_line

WHEELS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
)
"""Distributions that all install `onnxruntime`."""

PLUGINS = {
    "OpenVINOExecutionProvider": "onnxruntime_ep_openvino",
    "NvTensorRTRTXExecutionProvider": "onnxruntime_ep_nv_tensorrt_rtx",
}
"""Providers that come as a module of their own, to be registered with whichever wheel is there."""

REINSTALL = "pip install 'boats[cpu]' or 'boats[gpu]'"


def installed_wheels() -> dict[str, str]:
    """Returns the ONNX Runtimes that are installed, each with its version."""
    # As importlib.metadata looks for them, which imports Python's e-mail package at every start.
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
    """Imports ONNX Runtime, of which exactly one wheel must be installed.

    Raises:
        ProviderError: None is installed, or what is left when one of two is removed, or two, which
            overwrite each other's files.
    """
    installed = list(installed_wheels())
    if len(installed) > 1:
        raise ProviderError(
            f"{' and '.join(installed)} are both installed and overwrite each other: "
            f"pip uninstall -y {' '.join(installed)}, then {REINSTALL}"
        )
    if not installed and importlib.util.find_spec("onnxruntime") is None:
        raise ProviderError(
            "ONNX Runtime is not installed: pip install 'boats[cpu]', or 'boats[gpu]' for CUDA"
        )
    try:
        import onnxruntime  # noqa: PLC0415

        onnxruntime.InferenceSession  # noqa: B018
    except (ImportError, AttributeError) as error:
        raise ProviderError(
            f"ONNX Runtime is installed but broken ({error}): "
            f"pip uninstall -y {' '.join(WHEELS[:2])}, then {REINSTALL}"
        ) from error
    # What goes wrong is raised, and reported once: its log would only say it again, on any stream.
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def find_plugin_devices(runtime: Any, full_name: str) -> list[Any]:
    """Returns the devices on which a provider's plugin can run; none without the plugin.

    Args:
        runtime: ONNX Runtime.
        full_name: As ONNX Runtime calls the provider.

    Raises:
        ProviderError: The plugin is installed but can't be loaded.
    """
    name = PLUGINS.get(full_name)
    if name is None or importlib.util.find_spec(name) is None:
        return []
    devices = _devices_of(runtime, full_name)
    if devices:
        return devices
    try:
        plugin = importlib.import_module(name)
        runtime.register_execution_provider_library(name, plugin.get_library_path())
    except Exception as error:
        message = first_line(error)
        if "already" not in message:
            raise ProviderError(f"{name} can't be loaded: {message}") from error
    return _devices_of(runtime, full_name)


def _devices_of(runtime: Any, full_name: str) -> list[Any]:
    return [device for device in runtime.get_ep_devices() if device.ep_name == full_name]
