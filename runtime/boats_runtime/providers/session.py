"""Which execution provider runs the model: asked for, resolved, verified, reported.

An explicit provider never falls back. ONNX Runtime by itself opens a CUDA session on the CPU with
one warning when a library is missing, and gives the CPU whatever node a provider lacks. So the
session is told to refuse that, every node's place is looked at, and the model has to run once on
its real shape before the provider counts as working (cuDNN is only loaded then).
"""

import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boats_runtime.cpu import granted_cpus
from boats_runtime.errors import ModelError, ProviderError, UsageError, first_line
from boats_runtime.providers.cuda_libraries import describe_missing, preload
from boats_runtime.providers.wheels import PLUGINS, find_plugin_devices, import_onnxruntime

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Provider:
    """A kind of execution provider.

    Attributes:
        full_name: As ONNX Runtime calls it.
        install: What brings it.
        automatic: Whether `auto` tries it: not where a start takes minutes, nor where sums are not
            those of float32.
        settings: Its options.
        after: Other providers that may run what it lacks; never the CPU.
    """

    full_name: str
    install: str
    automatic: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()


_GPU_WHEEL = "pip uninstall -y onnxruntime, then pip install 'boats[gpu]'"

PROVIDERS = {
    # TF32 rounds products to 10 bits: other scores than on a CPU (microsoft/onnxruntime#19288).
    "cuda": Provider("CUDAExecutionProvider", _GPU_WHEEL, True, {"use_tf32": "0"}),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        f"{_GPU_WHEEL}, and install TensorRT 10",
        after=("CUDAExecutionProvider",),
    ),
    "tensorrt-rtx": Provider(
        "NvTensorRTRTXExecutionProvider", "pip install onnxruntime-ep-nv-tensorrt-rtx"
    ),
    "directml": Provider(
        "DmlExecutionProvider",
        "on Windows, pip uninstall -y onnxruntime, then pip install onnxruntime-directml",
        True,
    ),
    "coreml": Provider("CoreMLExecutionProvider", "on macOS, pip install 'boats[cpu]' has it"),
    "migraphx": Provider(
        "MIGraphXExecutionProvider",
        "pip uninstall -y onnxruntime, then pip install onnxruntime-migraphx",
    ),
    "openvino": Provider("OpenVINOExecutionProvider", "pip install onnxruntime-ep-openvino"),
    "qnn": Provider(
        "QNNExecutionProvider", "pip uninstall -y onnxruntime, then pip install onnxruntime-qnn"
    ),
    "cpu": Provider(CPU, "pip uninstall -y onnxruntime-gpu, then pip install 'boats[cpu]'", True),
}
"""The providers by their names on the command line, the best first."""


@dataclass(frozen=True)
class ActiveSession:
    """An ONNX Runtime session and the provider that was proved to run it.

    Attributes:
        session: The `onnxruntime.InferenceSession`.
        provider: The provider's name, a key of `PROVIDERS`.
        reason: Why this one, in a few words.
        nodes: How many nodes each provider runs, by ONNX Runtime's names; empty on the CPU alone,
            where there is nothing to prove.
    """

    session: Any
    provider: str
    reason: str
    nodes: Mapping[str, int]


@dataclass(frozen=True)
class Threads:
    """How a session uses the CPU.

    Attributes:
        count: Threads that work on one run; None for as many as this process may keep busy.
        spin: Whether they wait for their next task without sleeping: sooner at it, but nobody else
            gets the core.
    """

    count: int | None = None
    spin: bool = False


def open_session(
    model: bytes, provider: str = "auto", threads: Threads | None = None
) -> ActiveSession:
    """Opens a model on the provider asked for, or on the best that works.

    Args:
        model: The content of an ONNX file.
        provider: `auto`, or a key of `PROVIDERS`.
        threads: How it uses the CPU.

    Returns:
        A session that has, unless on the CPU, already run once on the model's own shape.

    Raises:
        UsageError: No provider is called that.
        ModelError: It is not a model that ONNX Runtime can open.
        ProviderError: The provider is not in this ONNX Runtime, or does not run this model.
    """
    if provider not in ("auto", *PROVIDERS):
        raise UsageError(f"no provider is called {provider}: auto, {', '.join(PROVIDERS)}")
    runtime = import_onnxruntime()
    threads = threads or Threads()
    if provider != "auto":
        return _open(runtime, model, provider, "asked for", threads)
    available = runtime.get_available_providers()
    refused: list[str] = []
    for name, kind in PROVIDERS.items():
        if kind.automatic and kind.full_name in available:
            reason = "; ".join(refused) or "the best this ONNX Runtime has"
            try:
                return _open(runtime, model, name, reason, threads)
            except ProviderError as error:
                refused.append(str(error))
    raise ProviderError("; ".join(refused) or _missing("cpu", available))


def list_providers(runtime: Any) -> list[str]:
    """Returns the names of the providers that this ONNX Runtime has, plugins included."""
    available = runtime.get_available_providers()
    return [
        name
        for name, kind in PROVIDERS.items()
        if kind.full_name in available or find_plugin_devices(runtime, kind.full_name)
    ]


def _open(runtime: Any, model: bytes, name: str, reason: str, threads: Threads) -> ActiveSession:
    kind = PROVIDERS[name]
    available = runtime.get_available_providers()
    devices = [] if kind.full_name in available else find_plugin_devices(runtime, kind.full_name)
    if kind.full_name not in available and not devices:
        raise ProviderError(_missing(name, available))
    options = _make_options(runtime, threads)
    listed = [(kind.full_name, dict(kind.settings)), *((other, {}) for other in kind.after)]
    if devices:
        options.add_provider_for_devices(devices[:1], dict(kind.settings))
        listed = []
    if name == "cpu":
        try:
            return ActiveSession(_make_session(runtime, model, options, listed), name, reason, {})
        except Exception as error:
            message = first_line(error)
            raise ModelError(f"not a model ONNX Runtime can open: {message}") from error
    if name in ("cuda", "tensorrt"):
        preload(runtime)
    # Without this key a missing library or an unsupported node quietly becomes CPU.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = _make_session(runtime, model, options, listed)
        nodes = _places(session)
        if not nodes[kind.full_name] or nodes[CPU]:
            raise ProviderError(f"its nodes went to {_counts(nodes)}")
        warm_up(session)
    except Exception as error:
        message = _diagnose(runtime, model, name, error)
        raise ProviderError(f"provider {name} does not run this model: {message}") from error
    return ActiveSession(session, name, reason, dict(nodes))


def _make_options(runtime: Any, threads: Threads) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; warnings would only alarm
    options.intra_op_num_threads = threads.count or granted_cpus()
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads.spin)))
    return options


def _make_session(runtime: Any, model: bytes, options: Any, listed: list[Any]) -> Any:
    # ONNX Runtime's own fallback opens the session on something else and says so on stdout.
    return runtime.InferenceSession(model, options, providers=listed or None, enable_fallback=0)


def warm_up(session: Any) -> None:
    """Runs a model once on a black photo of its own shape, in a batch of one where that is free."""
    feeds = {}
    for value in session.get_inputs():
        shape = [side if isinstance(side, int) else 1 for side in value.shape]
        feeds[value.name] = np.zeros(shape, np.uint8)
    session.run(None, feeds)


def _places(session: Any) -> Counter[str]:
    """Counts the nodes that each provider has got."""
    nodes: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        nodes[part.ep_name] += len(part.get_nodes())
    return nodes


def _counts(nodes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(nodes.items())) or "none"


def _missing(name: str, available: list[str]) -> str:
    kind = PROVIDERS[name]
    names = {one.full_name: short for short, one in PROVIDERS.items()}
    if importlib.util.find_spec(PLUGINS.get(kind.full_name, "no_plugin")) is not None:
        return f"provider {name}: its plugin finds no device here that it can run on"
    has = ", ".join(names[full] for full in available if full in names)
    return f"provider {name} is not in this ONNX Runtime, which has {has}: {kind.install}"


def _diagnose(runtime: Any, model: bytes, name: str, error: Exception) -> str:
    """Says why a provider does not run a model: what is missing, or which nodes it lacks."""
    if name in ("cuda", "tensorrt") and (missing := describe_missing(runtime)):
        return missing
    message = first_line(error)
    if "CPU EP" not in message:
        return message
    # Opened once more without the refusal, it tells where the nodes went.
    options = _make_options(runtime, Threads())
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    kind = PROVIDERS[name]
    try:
        session = _make_session(runtime, model, options, [(kind.full_name, dict(kind.settings))])
    except Exception:  # noqa: BLE001
        return message
    left = [
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU
        for node in part.get_nodes()
    ]
    kinds = ", ".join(f"{kind} ({count})" for kind, count in Counter(left).most_common(5))
    return f"{len(left)} of its nodes would run on the CPU: {kinds}"
