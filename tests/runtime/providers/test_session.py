import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from boats_runtime.classifier import Classifier
from boats_runtime.errors import ModelError, ProviderError, UsageError
from boats_runtime.installation import install_command
from boats_runtime.providers import session as session_module
from boats_runtime.providers.session import PROVIDERS, Threads, list_providers, open_session
from boats_runtime.providers.wheels import PLUGINS

HAS_CUDA = PROVIDERS["cuda"].full_name in onnxruntime.get_available_providers()
without_cuda = pytest.mark.skipif(HAS_CUDA, reason="the ONNX Runtime installed here has CUDA")
with_cuda = pytest.mark.skipif(
    not HAS_CUDA, reason="needs boats[gpu]: the ONNX Runtime installed here has no CUDA"
)

# ONNX Runtime warns before it falls back.
may_warn = pytest.mark.filterwarnings("ignore:Specified provider")


@pytest.fixture
def claims_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime that lists CUDA on a machine without it, as the GPU wheel does."""
    if HAS_CUDA:
        pytest.skip("the ONNX Runtime installed here has CUDA")
    claimed = [PROVIDERS["cuda"].full_name, PROVIDERS["cpu"].full_name]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)


def test_open_session__cpu(tiny_model: Path) -> None:
    active = open_session(tiny_model.read_bytes(), "cpu")
    assert (active.provider, active.reason) == ("cpu", "requested")
    assert active.session.get_providers() == ["CPUExecutionProvider"]


@without_cuda
def test_open_session__auto_takes_the_cpu(tiny_model: Path) -> None:
    active = open_session(tiny_model.read_bytes())
    assert (active.provider, active.reason) == ("cpu", "the best available in this ONNX Runtime")
    assert active.session.get_providers() == ["CPUExecutionProvider"]


@without_cuda
def test_open_session__cuda_is_not_in_this_wheel(tiny_model: Path) -> None:
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), "cuda")
    assert "provider cuda is not in this ONNX Runtime, which has cpu" in str(caught.value)
    line = f"pip uninstall -y onnxruntime, then {install_command('gpu')}"
    assert str(caught.value).endswith(line)


def test_open_session__unknown_provider(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="no provider is called tpu: auto, cuda, tensorrt, "):
        open_session(tiny_model.read_bytes(), "tpu")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__requested_provider_never_falls_back(tiny_model: Path) -> None:
    with pytest.raises(ProviderError, match="provider cuda does not run this model: "):
        open_session(tiny_model.read_bytes(), "cuda")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__auto_falls_back_with_a_reason(tiny_model: Path) -> None:
    active = open_session(tiny_model.read_bytes(), "auto")
    assert active.provider == "cpu"
    assert active.session.get_providers() == ["CPUExecutionProvider"]
    assert active.reason.startswith("provider cuda does not run this model: ")


class FakeSession:
    """A session with one input and a given assignment of nodes, whose runs fail.

    Args:
        operators: Operators of the nodes by the full name of the provider that runs them.
        failure: Message of the exception that a run raises.
    """

    def __init__(self, operators: dict[str, list[str]], failure: str = "") -> None:
        self._operators = operators
        self._failure = failure

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="image", shape=["batch", 4, 6, 3])]

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                ep_name=name,
                get_nodes=lambda types=types: [SimpleNamespace(op_type=item) for item in types],
            )
            for name, types in self._operators.items()
        ]

    def run(self, *_: object) -> None:
        raise RuntimeError(self._failure)


@pytest.mark.usefixtures("claims_cuda")
def test_open_session__cuda_without_cudnn(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The session opens on CUDA, and the first convolution fails (microsoft/onnxruntime#29252).
    failure = "CUDNN failure 1: cudnn64_9 not found ; \nGPU=0"
    fake = FakeSession({PROVIDERS["cuda"].full_name: ["Conv"]}, failure)
    monkeypatch.setattr(session_module, "_create_session", lambda *_: fake)
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), "cuda")
    expected = "provider cuda does not run this model: CUDNN failure 1: cudnn64_9 not found ;"
    assert str(caught.value) == expected


@pytest.mark.usefixtures("claims_cuda")
@pytest.mark.parametrize("nodes", [{"CUDA": 2, "CPU": 1}, {"CPU": 3}, {}])
def test_open_session__nodes_on_the_cpu(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, nodes: dict[str, int]
) -> None:
    operators = {f"{name}ExecutionProvider": ["TopK"] * count for name, count in nodes.items()}
    monkeypatch.setattr(session_module, "_create_session", lambda *_: FakeSession(operators))
    with pytest.raises(ProviderError, match="provider cuda does not run this model: its nodes"):
        open_session(tiny_model.read_bytes(), "cuda")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__lists_unsupported_operators(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_session = session_module._create_session

    def refuse_once(*_: object) -> Any:
        monkeypatch.setattr(session_module, "_create_session", create_session)
        raise RuntimeError("nodes are assigned to the default CPU EP, but fallback is disabled")

    monkeypatch.setattr(session_module, "_create_session", refuse_once)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), "cuda")
    # The second session is a real one, with all nodes on the CPU.
    pattern = r"provider cuda does not run this model: \d+ of its nodes would run on the CPU: "
    assert re.match(pattern, str(caught.value))
    assert "Conv (20)" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name != "cpu"])
def test_open_session__absent_provider_has_instructions(tiny_model: Path, name: str) -> None:
    if PROVIDERS[name].full_name in onnxruntime.get_available_providers():
        pytest.skip(f"the ONNX Runtime installed here has {name}")
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), name)
    assert str(caught.value).startswith(f"provider {name} is not in this ONNX Runtime, which has ")
    assert str(caught.value).endswith(PROVIDERS[name].install)
    assert "pip install" in str(caught.value)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed plugin for OpenVINO whose library is missing."""
    name = PLUGINS["OpenVINOExecutionProvider"]
    (tmp_path / f"{name}.py").write_text("def get_library_path():\n    return '/missing.so'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(name, None)


@pytest.mark.usefixtures("plugin")
def test_open_session__broken_plugin(tiny_model: Path) -> None:
    with pytest.raises(ProviderError, match="onnxruntime_ep_openvino cannot be loaded: "):
        open_session(tiny_model.read_bytes(), "openvino")


@pytest.mark.usefixtures("plugin")
def test_open_session__plugin_without_a_device(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda *_: None)
    with pytest.raises(ProviderError, match="provider openvino: its plugin finds no device"):
        open_session(tiny_model.read_bytes(), "openvino")


@pytest.mark.parametrize("spin", [False, True])
def test_open_session__threads(tiny_model: Path, spin: bool) -> None:
    session = open_session(tiny_model.read_bytes(), "cpu", Threads(1, spin)).session
    options = session.get_session_options()
    entry = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == str(int(spin))
    assert options.intra_op_num_threads == 1


def test_list_providers__cpu_is_last() -> None:
    assert list_providers(onnxruntime)[-1] == "cpu"


@with_cuda
def test_open_session__cuda_equals_the_cpu(tiny_model: Path) -> None:
    on_cuda, on_cpu = Classifier(tiny_model, "cuda"), Classifier(tiny_model, "cpu")
    assert on_cuda.provider == "cuda"
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 160, 3), dtype=np.uint8)
    np.testing.assert_allclose(on_cuda.run(pixels)[0], on_cpu.run(pixels)[0], atol=1e-4)


@pytest.mark.parametrize("provider", ["auto", "cpu"])
@pytest.mark.parametrize("content", [b"", b"not a model\n", bytes(100), b"\xff" * 1000])
def test_open_session__not_a_model(content: bytes, provider: str) -> None:
    with pytest.raises(ModelError, match=r"^not a model ONNX Runtime can open") as caught:
        open_session(content, provider)
    assert "\n" not in str(caught.value)


def test_open_session__truncated_model(tiny_model: Path) -> None:
    content = tiny_model.read_bytes()
    with pytest.raises(ModelError, match=r"^not a model ONNX Runtime can open"):
        open_session(content[: len(content) // 2])
