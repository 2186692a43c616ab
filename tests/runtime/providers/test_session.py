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
from boats_runtime.providers import session as providers
from boats_runtime.providers.session import PROVIDERS, Threads, list_providers, open_session
from boats_runtime.providers.wheels import PLUGINS

HAS_CUDA = PROVIDERS["cuda"].full_name in onnxruntime.get_available_providers()
without_cuda = pytest.mark.skipif(HAS_CUDA, reason="the ONNX Runtime installed here has CUDA")
with_cuda = pytest.mark.skipif(
    not HAS_CUDA, reason="needs boats[gpu]: the ONNX Runtime installed here has no CUDA"
)

# ONNX Runtime's one word before it falls back: as good as none where warnings are not errors.
may_warn = pytest.mark.filterwarnings("ignore:Specified provider")


@pytest.fixture
def claims_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime that offers CUDA where it can't have it, as the wheel for GPUs does."""
    if HAS_CUDA:
        pytest.skip("the ONNX Runtime installed here has CUDA")
    claimed = [PROVIDERS["cuda"].full_name, PROVIDERS["cpu"].full_name]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)


# --- open_session


def test_open_session__cpu(tiny_model: Path) -> None:
    active = open_session(tiny_model.read_bytes(), "cpu")
    assert (active.provider, active.reason) == ("cpu", "asked for")
    assert active.session.get_providers() == ["CPUExecutionProvider"]


@without_cuda
def test_open_session__auto_takes_the_cpu(tiny_model: Path) -> None:
    active = open_session(tiny_model.read_bytes())
    assert (active.provider, active.reason) == ("cpu", "the best this ONNX Runtime has")
    assert active.session.get_providers() == ["CPUExecutionProvider"]


@without_cuda
def test_open_session__cuda_is_not_in_this_wheel(tiny_model: Path) -> None:
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), "cuda")
    assert "provider cuda is not in this ONNX Runtime, which has cpu" in str(caught.value)
    line = "pip uninstall -y onnxruntime, then pip install 'boats[gpu]'"
    assert str(caught.value).endswith(line)


def test_open_session__unknown_provider(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="no provider is called tpu: auto, cuda, tensorrt, "):
        open_session(tiny_model.read_bytes(), "tpu")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__asked_for_never_falls_back(tiny_model: Path) -> None:
    with pytest.raises(ProviderError, match="provider cuda does not run this model: "):
        open_session(tiny_model.read_bytes(), "cuda")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__auto_falls_back_and_says_why(tiny_model: Path) -> None:
    active = open_session(tiny_model.read_bytes(), "auto")
    assert active.provider == "cpu"
    assert active.session.get_providers() == ["CPUExecutionProvider"]
    assert active.reason.startswith("provider cuda does not run this model: ")


class Posing:
    """A session that says that CUDA runs it: nodes by provider, and what a run raises."""

    def __init__(self, session: Any, nodes: dict[str, list[str]], failure: str = "") -> None:
        self._session = session
        self._nodes = nodes
        self._failure = failure

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                ep_name=name,
                get_nodes=lambda types=types: [SimpleNamespace(op_type=one) for one in types],
            )
            for name, types in self._nodes.items()
        ]

    def run(self, *_: object) -> None:
        raise RuntimeError(self._failure)


def pose(monkeypatch: pytest.MonkeyPatch, *posing: Any) -> None:
    """Lets the next sessions be these."""
    sessions = iter(posing)
    monkeypatch.setattr(providers, "_make_session", lambda *_: next(sessions))


@pytest.mark.usefixtures("claims_cuda")
def test_open_session__cuda_without_cudnn(
    tiny_model: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It opens on CUDA, and the first convolution fails (microsoft/onnxruntime#29252).
    cuda = PROVIDERS["cuda"].full_name
    failure = "CUDNN failure 1: cudnn64_9 not found ; \nGPU=0"
    pose(monkeypatch, Posing(classifier._session, {cuda: ["Conv"]}, failure))
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), "cuda")
    expected = "provider cuda does not run this model: CUDNN failure 1: cudnn64_9 not found ; "
    assert str(caught.value) == expected


@pytest.mark.usefixtures("claims_cuda")
@pytest.mark.parametrize("nodes", [{"CUDA": 2, "CPU": 1}, {"CPU": 3}, {}])
def test_open_session__nodes_on_the_cpu(
    tiny_model: Path,
    classifier: Classifier,
    monkeypatch: pytest.MonkeyPatch,
    nodes: dict[str, int],
) -> None:
    places = {f"{name}ExecutionProvider": ["TopK"] * count for name, count in nodes.items()}
    pose(monkeypatch, Posing(classifier._session, places))
    with pytest.raises(ProviderError, match="provider cuda does not run this model: its nodes"):
        open_session(tiny_model.read_bytes(), "cuda")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__names_the_nodes_that_cuda_lacks(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = providers._make_session

    def refuse_once(*_: object) -> Any:
        monkeypatch.setattr(providers, "_make_session", real)
        raise RuntimeError("nodes are assigned to the default CPU EP, but fallback is disabled")

    monkeypatch.setattr(providers, "_make_session", refuse_once)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), "cuda")
    # The second session is real: all of this model's nodes go to the CPU.
    pattern = r"provider cuda does not run this model: \d+ of its nodes would run on the CPU: "
    assert re.match(pattern, str(caught.value))
    assert "Conv (20)" in str(caught.value)


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name != "cpu"])
def test_open_session__not_in_this_wheel_says_what_brings_it(tiny_model: Path, name: str) -> None:
    if PROVIDERS[name].full_name in onnxruntime.get_available_providers():
        pytest.skip(f"the ONNX Runtime installed here has {name}")
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model.read_bytes(), name)
    assert str(caught.value).startswith(f"provider {name} is not in this ONNX Runtime, which has ")
    assert str(caught.value).endswith(PROVIDERS[name].install)
    assert "pip install" in str(caught.value)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A plugin for OpenVINO is installed, but has no library."""
    name = PLUGINS["OpenVINOExecutionProvider"]
    (tmp_path / f"{name}.py").write_text("def get_library_path():\n    return '/none.so'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(name, None)


@pytest.mark.usefixtures("plugin")
def test_open_session__plugin_that_does_not_load(tiny_model: Path) -> None:
    with pytest.raises(ProviderError, match="onnxruntime_ep_openvino can't be loaded: "):
        open_session(tiny_model.read_bytes(), "openvino")


@pytest.mark.usefixtures("plugin")
def test_open_session__plugin_without_a_device(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda *_: None)
    with pytest.raises(ProviderError, match="provider openvino: its plugin finds no device here"):
        open_session(tiny_model.read_bytes(), "openvino")


@pytest.mark.parametrize("spin", [False, True])
def test_open_session__spinning_is_chosen(tiny_model: Path, spin: bool) -> None:
    options = open_session(
        tiny_model.read_bytes(), "cpu", Threads(1, spin)
    ).session.get_session_options()
    told = options.get_session_config_entry("session.intra_op.allow_spinning")
    assert told == str(int(spin))
    assert options.intra_op_num_threads == 1


def test_list_providers__what_this_wheel_has() -> None:
    assert list_providers(onnxruntime)[-1] == "cpu"


@with_cuda
def test_open_session__cuda_agrees_with_the_cpu(tiny_model: Path) -> None:
    on_cuda, on_cpu = Classifier(tiny_model, "cuda"), Classifier(tiny_model, "cpu")
    assert on_cuda.provider == "cuda"
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 160, 3), dtype=np.uint8)
    np.testing.assert_allclose(on_cuda.run(pixels)[0], on_cpu.run(pixels)[0], atol=1e-4)


@pytest.mark.parametrize("provider", ["auto", "cpu"])
@pytest.mark.parametrize("content", [b"", b"not a model\n", bytes(100), b"\xff" * 1000])
def test_open_session__no_onnx_file(content: bytes, provider: str) -> None:
    with pytest.raises(ModelError, match=r"^not a model ONNX Runtime can open") as caught:
        open_session(content, provider)
    assert "\n" not in str(caught.value)


def test_open_session__truncated_model(tiny_model: Path) -> None:
    content = tiny_model.read_bytes()
    with pytest.raises(ModelError, match=r"^not a model ONNX Runtime can open"):
        open_session(content[: len(content) // 2])
