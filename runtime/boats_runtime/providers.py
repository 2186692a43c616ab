"""Which execution provider runs the model: asked for, resolved, verified, reported.

An explicit provider never falls back: ONNX Runtime opens a CUDA session on the CPU with one warning
when a library is missing, so the session is told to refuse that, and it has to run once on the real
shape before it counts as working (cuDNN is only loaded then).
"""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boats_runtime.cpu import granted_cpus
from boats_runtime.errors import ModelError, ProviderError

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
"""Provider names of the command line, the best first, and what ONNX Runtime calls them."""

_WHEELS = {"onnxruntime": "cpu", "onnxruntime-gpu": "gpu"}


@dataclass(frozen=True)
class ActiveSession:
    """An ONNX Runtime session and the provider that was proved to run it.

    Attributes:
        session: The `onnxruntime.InferenceSession`.
        provider: The provider's name, a key of `PROVIDERS`.
        reason: Why this one, in a few words.
    """

    session: Any
    provider: str
    reason: str


def import_onnxruntime() -> Any:
    """Imports ONNX Runtime, of which exactly one wheel must be installed.

    Raises:
        ProviderError: None is installed, or what is left when one of two is removed, or two, which
            overwrite each other's files.
    """
    installed = [wheel for wheel in _WHEELS if _is_installed(wheel)]
    if len(installed) > 1:
        raise ProviderError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'boats[cpu]' "
            "or 'boats[gpu]'"
        )
    if not installed and importlib.util.find_spec("onnxruntime") is None:
        raise ProviderError(
            "ONNX Runtime is not installed: pip install 'boats[cpu]', or 'boats[gpu]' for CUDA"
        )
    try:
        import onnxruntime  # noqa: PLC0415 (its absence is reported above)

        onnxruntime.InferenceSession  # noqa: B018 (a gutted folder imports, and is empty)
    except (ImportError, AttributeError) as error:
        raise ProviderError(
            f"ONNX Runtime is installed but broken ({error}): pip uninstall -y onnxruntime "
            "onnxruntime-gpu, then pip install 'boats[cpu]' or 'boats[gpu]'"
        ) from error
    return onnxruntime


def open_session(model: Path, provider: str = "auto") -> ActiveSession:
    """Opens a model on the provider asked for, or on the best that works.

    Args:
        model: The ONNX file.
        provider: `auto`, or a key of `PROVIDERS`.

    Returns:
        A session that has, unless on the CPU, already run once on the model's own shape.

    Raises:
        ModelError: The file is not a model that ONNX Runtime can open.
        ProviderError: The provider is not in this ONNX Runtime, or does not run this model.
    """
    runtime = import_onnxruntime()
    available = [
        name for name, full in PROVIDERS.items() if full in runtime.get_available_providers()
    ]
    if provider != "auto":
        if provider not in available:
            raise ProviderError(_missing(provider, available))
        return ActiveSession(_open(runtime, model, provider), provider, "asked for")
    refused: list[str] = []
    for name in available:
        reason = "; ".join(refused) or "the best this ONNX Runtime has"
        try:
            return ActiveSession(_open(runtime, model, name), name, reason)
        except ProviderError as error:
            refused.append(str(error))
    raise ProviderError("; ".join(refused) or _missing("cpu", available))


def _is_installed(wheel: str) -> bool:
    try:
        importlib.metadata.distribution(wheel)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _missing(provider: str, available: list[str]) -> str:
    extra = "gpu" if provider == "cuda" else "cpu"
    other = "onnxruntime" if provider == "cuda" else "onnxruntime-gpu"
    return (
        f"provider {provider} is not in this ONNX Runtime, which has {', '.join(available)}: "
        f"pip uninstall -y {other}, then pip install 'boats[{extra}]'"
    )


def _open(runtime: Any, model: Path, provider: str) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # what goes wrong is raised; warnings would only alarm
    options.intra_op_num_threads = granted_cpus()
    settings: dict[str, str] = {}
    if provider == "cuda":
        # Without this key a missing library or an unsupported node quietly becomes CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings["use_tf32"] = "0"  # TF32 rounds products to 10 bits: other scores than on a CPU
        runtime.preload_dlls()
    try:
        session = runtime.InferenceSession(
            model, options, providers=[(PROVIDERS[provider], settings)]
        )
        if provider != "cpu":
            _warm_up(session)
    except Exception as error:
        message = str(error).splitlines()[0]
        if provider == "cpu":
            raise ModelError(f"{model}: not a model ONNX Runtime can open: {message}") from error
        raise ProviderError(f"provider {provider} does not run this model: {message}") from error
    return session


def _warm_up(session: Any) -> None:
    feeds = {}
    for value in session.get_inputs():
        shape = [side if isinstance(side, int) else 1 for side in value.shape]
        feeds[value.name] = np.zeros(shape, np.uint8)
    session.run(None, feeds)
