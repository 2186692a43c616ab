"""Opening of ONNX Runtime sessions on a verified execution provider.

A requested provider never falls back to another one. ONNX Runtime alone opens a CUDA session on the
CPU with only a warning if a library is missing, and assigns the nodes that a provider does not
support to the CPU. Therefore sessions disable this fallback, the assignment of every node is
checked, and the model has to run once on its real shape before the provider counts as working
(cuDNN is not loaded earlier).
"""

import importlib.util
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from boats_runtime.cpu import granted_cpus
from boats_runtime.errors import ModelError, ProviderError, UsageError, first_line
from boats_runtime.installation import install_command
from boats_runtime.providers.cuda_libraries import describe_missing, preload
from boats_runtime.providers.wheels import PLUGINS, find_plugin_devices, import_onnxruntime

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    Attributes:
        full_name: Name in ONNX Runtime.
        instructions: How to install it; `{cpu}` and `{gpu}` stand for the commands that install
            these extras.
        automatic: Whether `auto` tries it. Excluded are providers that are slow to start or have a
            lower precision.
        settings: Options of the provider.
        secondary: Full names of providers that can run the nodes that it does not support; never
            the CPU.
    """

    full_name: str
    instructions: str
    automatic: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    secondary: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """Instructions to install it where boats is installed."""
        return self.instructions.format(cpu=install_command("cpu"), gpu=install_command("gpu"))


_GPU_WHEEL = "pip uninstall -y onnxruntime, then {gpu}"

PROVIDERS = {
    # TF32 rounds products to 10 bits and so changes the scores (microsoft/onnxruntime#19288).
    "cuda": Provider("CUDAExecutionProvider", _GPU_WHEEL, True, {"use_tf32": "0"}),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        f"{_GPU_WHEEL}, and install TensorRT 10",
        secondary=("CUDAExecutionProvider",),
    ),
    "tensorrt-rtx": Provider(
        "NvTensorRTRTXExecutionProvider", "pip install onnxruntime-ep-nv-tensorrt-rtx"
    ),
    "directml": Provider(
        "DmlExecutionProvider",
        "on Windows, pip uninstall -y onnxruntime, then pip install onnxruntime-directml",
        True,
    ),
    "coreml": Provider("CoreMLExecutionProvider", "on macOS, {cpu} has it"),
    "migraphx": Provider(
        "MIGraphXExecutionProvider",
        "pip uninstall -y onnxruntime, then pip install onnxruntime-migraphx",
    ),
    "openvino": Provider("OpenVINOExecutionProvider", "pip install onnxruntime-ep-openvino"),
    "qnn": Provider(
        "QNNExecutionProvider", "pip uninstall -y onnxruntime, then pip install onnxruntime-qnn"
    ),
    "cpu": Provider(CPU, "pip uninstall -y onnxruntime-gpu, then {cpu}", True),
}
"""Providers by their names on the command line, in the order of `auto`."""


@dataclass(frozen=True)
class ActiveSession:
    """An ONNX Runtime session and the verified provider that runs it.

    Attributes:
        session: The `onnxruntime.InferenceSession`.
        provider: Name of the provider, a key of `PROVIDERS`.
        reason: Short reason for the choice of the provider.
        nodes: Number of nodes by the full name of the provider that runs them; empty on the CPU,
            which is not verified.
    """

    session: Any
    provider: str
    reason: str
    nodes: Mapping[str, int]


@dataclass(frozen=True)
class Threads:
    """CPU use of a session.

    Attributes:
        count: Number of threads; None for the number of CPUs available to this process.
        spin: Whether idle threads keep spinning for a while. It reduces the latency of the next
            run, but takes CPU time from other processes.
    """

    count: int | None = None
    spin: bool = False


def open_session(
    model: bytes, provider: str = "auto", threads: Threads | None = None
) -> ActiveSession:
    """Open a model on a provider, or on the first one that works.

    Args:
        model: Content of an ONNX file.
        provider: `auto` or a key of `PROVIDERS`.
        threads: CPU use of the session.

    Returns:
        A session. On other providers than the CPU, the model has run once on its real shape.

    Raises:
        UsageError: If the name of the provider is unknown.
        ModelError: If ONNX Runtime cannot open the model.
        ProviderError: If the provider is not available or cannot run the model.
    """
    if provider not in ("auto", *PROVIDERS):
        raise UsageError(f"no provider is called {provider}: auto, {', '.join(PROVIDERS)}")
    runtime = import_onnxruntime()
    threads = threads or Threads()
    if provider != "auto":
        return _open_on(runtime, model, provider, "requested", threads)
    available = runtime.get_available_providers()
    failures: list[str] = []
    for name, candidate in PROVIDERS.items():
        if candidate.automatic and candidate.full_name in available:
            reason = "; ".join(failures) or "the best available in this ONNX Runtime"
            try:
                return _open_on(runtime, model, name, reason, threads)
            except ProviderError as error:
                failures.append(str(error))
    raise ProviderError("; ".join(failures) or _describe_absence("cpu", available))


def list_providers(runtime: Any) -> list[str]:
    """Return the names of the providers in this ONNX Runtime, including plugins."""
    available = runtime.get_available_providers()
    return [
        name
        for name, provider in PROVIDERS.items()
        if provider.full_name in available or find_plugin_devices(runtime, provider.full_name)
    ]


def warm_up(session: Any) -> None:
    """Run a model once on a black image of its own shape, with batch size 1 if it is dynamic."""
    inputs = {}
    for value in session.get_inputs():
        shape = [side if isinstance(side, int) else 1 for side in value.shape]
        inputs[value.name] = np.zeros(shape, np.uint8)
    session.run(None, inputs)


def _open_on(runtime: Any, model: bytes, name: str, reason: str, threads: Threads) -> ActiveSession:
    provider = PROVIDERS[name]
    full_name = provider.full_name
    available = runtime.get_available_providers()
    devices = [] if full_name in available else find_plugin_devices(runtime, full_name)
    if full_name not in available and not devices:
        raise ProviderError(_describe_absence(name, available))
    options = _create_options(runtime, threads)
    providers = [
        (full_name, dict(provider.settings)),
        *((other, {}) for other in provider.secondary),
    ]
    if devices:
        options.add_provider_for_devices(devices[:1], dict(provider.settings))
        providers = []
    if name == "cpu":
        try:
            session = _create_session(runtime, model, options, providers)
        except Exception as error:
            raise ModelError(f"not a model ONNX Runtime can open: {first_line(error)}") from error
        return ActiveSession(session, name, reason, {})
    if name in ("cuda", "tensorrt"):
        preload(runtime)
    # Without this option a missing library or an unsupported node silently falls back to the CPU.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = _create_session(runtime, model, options, providers)
        nodes = _count_nodes(session)
        if not nodes[full_name] or nodes[CPU]:
            counts = ", ".join(f"{owner} ({count})" for owner, count in sorted(nodes.items()))
            raise ProviderError(f"its nodes went to {counts or 'none'}")
        warm_up(session)
    except Exception as error:
        message = _diagnose(runtime, model, name, error)
        raise ProviderError(f"provider {name} does not run this model: {message}") from error
    return ActiveSession(session, name, reason, dict(nodes))


def _create_options(runtime: Any, threads: Threads) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised; the log would only repeat them
    options.intra_op_num_threads = threads.count or granted_cpus()
    # The checks of the file read no other format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads.spin)))
    return options


def _create_session(runtime: Any, model: bytes, options: Any, providers: list[Any]) -> Any:
    # The fallback of ONNX Runtime opens the session on another provider and prints to stdout.
    return runtime.InferenceSession(model, options, providers=providers or None, enable_fallback=0)


def _count_nodes(session: Any) -> Counter[str]:
    """Return the number of nodes by the full name of the provider that runs them."""
    nodes: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        nodes[subgraph.ep_name] += len(subgraph.get_nodes())
    return nodes


def _describe_absence(name: str, available: list[str]) -> str:
    provider = PROVIDERS[name]
    if importlib.util.find_spec(PLUGINS.get(provider.full_name, "no_plugin")) is not None:
        return f"provider {name}: its plugin finds no device that it can use"
    names = [short for short, other in PROVIDERS.items() if other.full_name in available]
    return (
        f"provider {name} is not in this ONNX Runtime, which has {', '.join(names)}: "
        f"{provider.install}"
    )


def _diagnose(runtime: Any, model: bytes, name: str, error: Exception) -> str:
    """Return why a provider cannot run a model: missing libraries or unsupported nodes."""
    if name in ("cuda", "tensorrt") and (missing := describe_missing(runtime)):
        return missing
    message = first_line(error)
    if "CPU EP" not in message:
        return message
    # With the fallback enabled, the session tells which nodes the provider does not support.
    options = _create_options(runtime, Threads())
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    provider = PROVIDERS[name]
    providers = [(provider.full_name, dict(provider.settings))]
    try:
        session = _create_session(runtime, model, options, providers)
    except Exception:  # noqa: BLE001
        return message
    operators = Counter(
        node.op_type
        for subgraph in session.get_provider_graph_assignment_info()
        if subgraph.ep_name == CPU
        for node in subgraph.get_nodes()
    )
    examples = ", ".join(f"{operator} ({count})" for operator, count in operators.most_common(5))
    return f"{operators.total()} of its nodes would run on the CPU: {examples}"
