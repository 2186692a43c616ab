import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import boats_runtime
from boats_runtime.classifier import Classifier
from boats_runtime.errors import ModelError, ProviderError
from boats_runtime.providers import PROVIDERS, import_onnxruntime, open_session

HAS_CUDA = PROVIDERS["cuda"] in onnxruntime.get_available_providers()
without_cuda = pytest.mark.skipif(HAS_CUDA, reason="the ONNX Runtime installed here has CUDA")
with_cuda = pytest.mark.skipif(
    not HAS_CUDA, reason="needs boats[gpu]: the ONNX Runtime installed here has no CUDA"
)

IMPORT = """
from boats_runtime.errors import ProviderError
from boats_runtime.providers import import_onnxruntime
try:
    print(import_onnxruntime().__name__)
except ProviderError as error:
    print("ProviderError:", error)
"""


# ONNX Runtime's one word before it falls back: as good as none where warnings are not errors.
may_warn = pytest.mark.filterwarnings("ignore:Specified provider")


@pytest.fixture
def claims_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime that offers CUDA where it can't have it, as the wheel for GPUs does."""
    if HAS_CUDA:
        pytest.skip("the ONNX Runtime installed here has CUDA")
    claimed = [PROVIDERS["cuda"], PROVIDERS["cpu"]]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages: links to all that are installed here, but ONNX Runtime."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        if not entry.name.startswith(("onnxruntime", "__")) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    (folder / "boats_runtime").unlink(missing_ok=True)
    (folder / "boats_runtime").symlink_to(Path(boats_runtime.__file__).parent)
    return folder


def import_with(packages: Path) -> str:
    """Imports ONNX Runtime in a new interpreter that has these packages and no others."""
    result = subprocess.run(
        [sys.executable, "-S", "-c", IMPORT],
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def add_distribution(packages: Path, name: str) -> None:
    folder = packages / f"{name.replace('-', '_')}-1.28.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.28.0\n")


# --- import_onnxruntime


def test_import_onnxruntime__one_is_installed() -> None:
    assert import_onnxruntime() is onnxruntime


def test_import_onnxruntime__none_is_installed(packages: Path) -> None:
    message = import_with(packages)
    assert message.startswith("ProviderError: ONNX Runtime is not installed")
    assert "pip install 'boats[cpu]'" in message
    assert "'boats[gpu]'" in message


def test_import_onnxruntime__without_metadata_it_is_still_found(packages: Path) -> None:
    package = Path(onnxruntime.__file__).parent
    (packages / "onnxruntime").symlink_to(package)
    assert import_with(packages) == "onnxruntime\n"


def test_import_onnxruntime__two_are_installed(packages: Path) -> None:
    (packages / "onnxruntime").symlink_to(Path(onnxruntime.__file__).parent)
    add_distribution(packages, "onnxruntime")
    add_distribution(packages, "onnxruntime-gpu")
    message = import_with(packages)
    assert message.startswith("ProviderError: onnxruntime and onnxruntime-gpu are both installed")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
    assert "pip install 'boats[cpu]'" in message


@pytest.mark.parametrize("left", ["nothing", "empty folder", "half a package"])
def test_import_onnxruntime__one_of_two_was_removed(packages: Path, left: str) -> None:
    add_distribution(packages, "onnxruntime")
    if left != "nothing":
        (packages / "onnxruntime").mkdir()
    if left == "half a package":
        (packages / "onnxruntime" / "__init__.py").write_text("from onnxruntime import capi\n")
    message = import_with(packages)
    assert message.startswith("ProviderError: ONNX Runtime is installed but broken")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
    assert "pip install 'boats[cpu]'" in message


# --- open_session


def test_open_session__cpu(tiny_model: Path) -> None:
    active = open_session(tiny_model, "cpu")
    assert (active.provider, active.reason) == ("cpu", "asked for")
    assert active.session.get_providers() == ["CPUExecutionProvider"]


@without_cuda
def test_open_session__auto_takes_the_cpu(tiny_model: Path) -> None:
    active = open_session(tiny_model)
    assert (active.provider, active.reason) == ("cpu", "the best this ONNX Runtime has")
    assert active.session.get_providers() == ["CPUExecutionProvider"]


@without_cuda
def test_open_session__cuda_is_not_in_this_wheel(tiny_model: Path) -> None:
    with pytest.raises(ProviderError) as caught:
        open_session(tiny_model, "cuda")
    assert "provider cuda is not in this ONNX Runtime, which has cpu" in str(caught.value)
    line = "pip uninstall -y onnxruntime, then pip install 'boats[gpu]'"
    assert str(caught.value).endswith(line)


def test_open_session__unknown_provider(tiny_model: Path) -> None:
    with pytest.raises(ProviderError, match="provider tpu is not in this ONNX Runtime"):
        open_session(tiny_model, "tpu")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__asked_for_never_falls_back(tiny_model: Path) -> None:
    with pytest.raises(ProviderError, match="provider cuda does not run this model: "):
        open_session(tiny_model, "cuda")


@may_warn
@pytest.mark.usefixtures("claims_cuda")
def test_open_session__auto_falls_back_and_says_why(tiny_model: Path) -> None:
    active = open_session(tiny_model, "auto")
    assert active.provider == "cpu"
    assert active.session.get_providers() == ["CPUExecutionProvider"]
    assert active.reason.startswith("provider cuda does not run this model: ")


@with_cuda
def test_open_session__cuda_agrees_with_the_cpu(tiny_model: Path) -> None:
    on_cuda, on_cpu = Classifier(tiny_model, "cuda"), Classifier(tiny_model, "cpu")
    assert on_cuda.provider == "cuda"
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 160, 3), dtype=np.uint8)
    np.testing.assert_allclose(on_cuda.run(pixels)[0], on_cpu.run(pixels)[0], atol=1e-4)


@pytest.mark.parametrize("provider", ["auto", "cpu"])
@pytest.mark.parametrize("content", [b"", b"not a model\n", bytes(100), b"\xff" * 1000])
def test_open_session__no_onnx_file(tmp_path: Path, content: bytes, provider: str) -> None:
    path = tmp_path / "boats.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a model ONNX Runtime can open") as caught:
        open_session(path, provider)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_open_session__truncated_model(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "boats.onnx"
    content = tiny_model.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="not a model ONNX Runtime can open"):
        open_session(path)


def save_with_weights_at(path: Path, place: str) -> None:
    """Writes a model that keeps its four weights in another file."""
    weights = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[4])
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place)
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    node = onnx.helper.make_node("Identity", ["w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [], [output], [weights])
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    path.write_bytes(model.SerializeToString())


def test_open_session__weights_outside_its_folder_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (tmp_path / "secret.bin", folder / "weights.bin"):
        path.write_bytes(bytes(16))
    model = folder / "boats.onnx"
    save_with_weights_at(model, "weights.bin")
    assert open_session(model, "cpu").session.run(None, {})[0].tolist() == [0, 0, 0, 0]
    for place in ("../secret.bin", str(tmp_path / "secret.bin")):
        save_with_weights_at(model, place)
        with pytest.raises(ModelError, match="not a model ONNX Runtime can open"):
            open_session(model, "cpu")
