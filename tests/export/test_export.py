import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from boats_data.dataset import scan_dataset
from boats_export import export
from boats_export.assemble import Layout
from boats_export.export import Settings, export_run
from boats_export.network import export_network
from boats_export.verification_images import HARD, Photos, load_verification_images
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError, DataError, ModelError, OutputError
from boats_runtime.model import metadata as runtime_metadata
from boats_runtime.model.digest import verify_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run, load_run, write_run

ANY = 100.0
"""Thirteen photos teach little: what the gate lets through is another test's matter."""

INT8 = Settings("int8", max_drop=ANY, target="vnni")


@pytest.fixture(autouse=True)
def ready(tiny_network: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests the seconds that PyTorch's exporter takes."""

    def copy(*_: object) -> onnx.ModelProto:
        network = onnx.ModelProto()
        network.CopyFrom(tiny_network)
        return network

    monkeypatch.setattr(export, "export_network", copy)


@pytest.fixture(scope="module")
def valid(loaded_run: Run) -> Photos:
    return load_verification_images(loaded_run, None, "valid")


@pytest.fixture(scope="module")
def train(loaded_run: Run) -> Photos:
    return load_verification_images(loaded_run, None, "train")


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Makes writing larger files fail, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs POSIX's limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ignore(_: str) -> None:
    pass


def make(run: Run, out: Path, valid: Photos, settings: Settings = Settings()) -> ModelMetadata:  # noqa: B008
    train = load_verification_images(run, None, "train") if settings.precision == "int8" else None
    return export_run(run, out, valid, train, settings, ignore)


def test_export_run__file_appears(loaded_run: Run, valid: Photos, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "boats.onnx"
    metadata = export_run(loaded_run, out, valid, None, Settings(), lines.append)
    assert list(tmp_path.iterdir()) == [out]
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    assert Classifier(out, "cpu").metadata == metadata
    verify_digest(out.read_bytes(), metadata.digest)
    proof = metadata.provenance["proof"]
    assert (proof["photos"], proof["hard_photos"], proof["labels_equal"]) == (7, 4, 11)
    assert (proof["precision"], proof["opset"], proof["undecided"]) == ("fp32", 18, 0)
    assert 0 < proof["largest_difference"] < proof["tolerance"] == 1e-4
    assert proof["same_label_as_float32"] == 11
    assert proof["before"] == proof["after"]
    assert proof["after"]["accuracy"] == loaded_run.metrics["splits"]["valid"]["accuracy"]
    assert [line for line in lines if "7 photos" in line]


def test_export_run__replaces_an_older_file(loaded_run: Run, valid: Photos, tmp_path: Path) -> None:
    out = tmp_path / "boats.onnx"
    out.write_text("older")
    make(loaded_run, out, valid)
    assert Classifier(out, "cpu").metadata.labels == loaded_run.classes
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("settings", [Settings(), Settings("fp16", max_drop=ANY), INT8], ids=str)
def test_export_run__same_bytes_again(
    loaded_run: Run, valid: Photos, tmp_path: Path, settings: Settings
) -> None:
    files = [tmp_path / "first.onnx", tmp_path / "second.onnx"]
    for out in files:
        make(loaded_run, out, valid, settings)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("settings", [Settings("fp16", max_drop=ANY), INT8], ids=str)
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_export_run__smaller_and_nearly_the_same(
    tiny_model: Path, small: dict[str, Path], valid: Photos,
    settings: Settings, batch: int,
) -> None:  # fmt: skip
    out = small[settings.precision]
    share = {"fp16": 0.6, "int8": 0.3}[settings.precision]
    assert out.stat().st_size < share * tiny_model.stat().st_size
    pixels = np.stack(list(valid)[:batch])
    probabilities, labels = Classifier(out, "cpu").run(pixels)
    expected, _ = Classifier(tiny_model, "cpu").run(pixels)
    assert probabilities.dtype == np.float32
    assert np.array_equal(labels, probabilities.argmax(axis=1))
    # Less is proved than for fp32: that the labels are nearly as good, which the gate measures.
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=0.2)
    proof = Classifier(out, "cpu").metadata.provenance["proof"]
    assert proof["precision"] == settings.precision
    assert proof["labels_equal"] == 7 + len(HARD)
    assert proof["largest_difference"] <= 1e-4


@pytest.fixture(scope="module")
def small(
    loaded_run: Run, valid: Photos, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """An fp16 and an int8 file of `tiny_run`."""
    folder = tmp_path_factory.mktemp("small")
    for settings in (Settings("fp16", max_drop=ANY), INT8):
        make(loaded_run, folder / settings.precision, valid, settings)
    return {path.name: path for path in folder.iterdir()}


def test_export_run__int8_says_how_it_was_made(small: dict[str, Path]) -> None:
    proof = Classifier(small["int8"], "cpu").metadata.provenance["proof"]
    assert set(proof["without_refit"]) == {"accuracy", "macro_f1", "recall"}
    used = proof["quantization"]
    assert used["target"] == "vnni"
    assert used["floats"] == []
    assert 0 < used["distance"] < 0.1
    assert len(used["tried"]) == 4


def test_export_run__int8_stores_its_support_vectors_in_16_bits(small: dict[str, Path]) -> None:
    model = onnx.load(small["int8"])
    types = {
        tensor.name: tensor.data_type
        for tensor in model.graph.initializer
        if "support_vectors" in tensor.name
    }
    assert list(types.values()) == [onnx.TensorProto.FLOAT16]


FORBIDDEN = {"Loop", "Scan", "If", "SequenceConstruct", "ZipMap", "SVMClassifier", "Scaler"}

CUDA = frozenset(
    [
        "Abs",
        "Add",
        "ArgMax",
        "AveragePool",
        "Cast",
        "Clip",
        "Concat",
        "Conv",
        "DequantizeLinear",
        "Div",
        "Exp",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "GreaterOrEqual",
        "Identity",
        "MatMul",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "QuantizeLinear",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Shape",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Softsign",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
"""Of the operators that ONNX Runtime's CUDA provider has kernels for (docs/OperatorKernels.md in
microsoft/onnxruntime)."""


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_export_run__only_operators_that_cuda_has(
    precision: str, small: dict[str, Path], tiny_model: Path
) -> None:
    model = onnx.load(small.get(precision, tiny_model))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    used = {node.op_type for node in model.graph.node}
    assert not used & FORBIDDEN
    assert used <= CUDA
    double = onnx.TensorProto.DOUBLE
    casts = [attribute.i for node in model.graph.node if node.op_type == "Cast"
             for attribute in node.attribute if attribute.name == "to"]  # fmt: skip
    assert double not in casts
    assert double not in {tensor.data_type for tensor in model.graph.initializer}


@pytest.mark.parametrize("opset", [18, 19, 20])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_export_run__opset_and_batch(
    loaded_run: Run, tiny_model: Path, valid: Photos, tmp_path: Path, opset: int, batch: int | None
) -> None:
    out = tmp_path / "boats.onnx"
    make(loaded_run, out, valid, Settings(layout=Layout(opset, batch, with_features=True)))
    model = onnx.load(out)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == 10
    side = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (side.dim_value or None, side.dim_param) == (batch, "" if batch else "batch")
    pixels = np.stack(list(valid))
    probabilities, labels = Classifier(out, "cpu").run(pixels)
    expected, same = Classifier(tiny_model, "cpu").run(pixels)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(labels, same)
    assert Classifier(out, "cpu").embed(pixels).shape == (7, 512)


Sabotage = Callable[[pytest.MonkeyPatch, Run], None]


def change_network(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], bool | np.ndarray]
) -> None:
    """Changes the first constant of the exported network that the function takes."""
    original = export.export_network

    def wrong(*arguments: Any) -> onnx.ModelProto:
        network = original(*arguments)
        for tensor in network.graph.initializer:
            values = change(onnx.numpy_helper.to_array(tensor))
            if values is not False:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(values), tensor.name))
                return network
        raise AssertionError("nothing was changed")

    monkeypatch.setattr(export, "export_network", wrong)


def wrong_mean(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    change_network(
        monkeypatch, lambda values: values * 0.5 if values.shape == (1, 3, 1, 1) else False
    )


def blue_for_red(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    change_network(
        monkeypatch,
        lambda values: values[:, ::-1].copy() if values.shape[1:2] == (3,) and values.ndim == 4
        and len(values) > 1 else False,
    )  # fmt: skip


def another_resize(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    class Nearest(Preprocessing):
        def apply(self, image: Image.Image) -> np.ndarray:
            return np.asarray(
                image.convert("RGB").resize((self.width, self.height), Image.Resampling.NEAREST)
            )

    class Reader(Preprocessing):
        @classmethod
        def from_json(cls, value: object) -> Preprocessing:
            read = Preprocessing.from_json(value)
            return Nearest(read.height, read.width, read.mean, read.std)

    monkeypatch.setattr(runtime_metadata, "Preprocessing", Reader)


def swapped_labels(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    original = export.metadata_of

    def wrong(run: Run, proof: dict[str, Any]) -> ModelMetadata:
        return original(replace(run, classes=run.classes[::-1]), proof)

    monkeypatch.setattr(export, "metadata_of", wrong)


def head_of_another_run(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    rng = np.random.default_rng(0)
    features = rng.random((30, 512), dtype=np.float32)
    other = run.refit(features, np.arange(30) % 3, [Path(f"{n}.jpg") for n in range(30)])
    original = export.export_classifier

    def wrong(_: Any, width: int, half: bool = False) -> onnx.ModelProto:
        return original(other.estimator, width, half)

    monkeypatch.setattr(export, "export_classifier", wrong)


def stale_calibration(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    """The scores are of the new SVM, what makes probabilities of them is not."""
    original = export.export_classifier

    def wrong(estimator: CalibratedSVC, width: int, half: bool = False) -> onnx.ModelProto:
        stale = CalibratedSVC(estimator.pipeline)
        stale.classes_, stale.offsets_ = estimator.classes_, estimator.offsets_
        stale.slope_ = estimator.slope_ * 1.05
        return original(stale, width, half)

    monkeypatch.setattr(export, "export_classifier", wrong)


SABOTAGES = [
    wrong_mean, blue_for_red, another_resize, swapped_labels, head_of_another_run,
    stale_calibration,
]  # fmt: skip


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_export_run__sabotaged(
    loaded_run: Run, valid: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    sabotage: Sabotage, older: bool,
) -> None:  # fmt: skip
    out = tmp_path / "boats.onnx"
    if older:
        out.write_text("older")
    sabotage(monkeypatch, loaded_run)
    with pytest.raises(CheckError, match="no file was written"):
        make(loaded_run, out, valid)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"] * older


@pytest.mark.parametrize("sabotage", [swapped_labels, head_of_another_run, stale_calibration])
def test_export_run__sabotaged_int8(
    loaded_run: Run, valid: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    sabotage: Sabotage,
) -> None:  # fmt: skip
    sabotage(monkeypatch, loaded_run)
    with pytest.raises(CheckError, match="the exported file differs from the run"):
        make(loaded_run, tmp_path / "boats.onnx", valid, INT8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("max_drop", [None, 10.0])
def test_export_run__class_died_in_the_quantised_network(
    loaded_run: Run, valid: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    max_drop: float | None,
) -> None:  # fmt: skip
    refit = Run.refit

    def deadly(self: Run, *arguments: Any) -> Run:
        run = refit(self, *arguments)
        run.estimator.offsets_[0] = -1000.0  # it is never named again
        return run

    monkeypatch.setattr(Run, "refit", deadly)
    settings = replace(INT8, max_drop=max_drop)
    with pytest.raises(CheckError, match=r"too much is lost: .*no file was written"):
        make(loaded_run, tmp_path / "boats.onnx", valid, settings)
    assert list(tmp_path.iterdir()) == []


def test_export_run__int8_on_other_photos(loaded_run: Run, valid: Photos, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the photos that this run learned from"):
        export_run(loaded_run, tmp_path / "boats.onnx", valid, valid, INT8, ignore)
    assert list(tmp_path.iterdir()) == []


def test_export_run__more_names_than_probabilities(
    loaded_run: Run, valid: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export.metadata_of

    def wrong(run: Run, proof: dict[str, Any]) -> ModelMetadata:
        return original(replace(run, classes=(*run.classes, "vaporetto")), proof)

    monkeypatch.setattr(export, "metadata_of", wrong)
    with pytest.raises(ModelError, match="its outputs are not probabilities"):
        make(loaded_run, tmp_path / "x.onnx", valid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1_000_000])
def test_export_run__disk_is_full(
    loaded_run: Run, valid: Photos, tmp_path: Path, size: int
) -> None:
    out = tmp_path / "boats.onnx"
    out.write_text("older")
    with (
        files_up_to(size),
        pytest.raises(OutputError, match=r"boats\.onnx: can't be written: File too large"),
    ):
        make(loaded_run, out, valid)
    assert list(tmp_path.iterdir()) == [out]
    assert out.read_text() == "older"


def no_folder(tmp_path: Path) -> Path:
    return tmp_path / "nowhere" / "boats.onnx"


def file_for_a_folder(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "boats.onnx"


@pytest.mark.parametrize("place", [no_folder, file_for_a_folder])
def test_export_run__place_cant_be_written(
    loaded_run: Run, valid: Photos, tmp_path: Path, place: Callable[[Path], Path]
) -> None:
    out = place(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=f"{out.parent}: can't be written: "):
        make(loaded_run, out, valid)
    assert sorted(tmp_path.iterdir()) == before


def test_export_run__place_is_a_folder(loaded_run: Run, valid: Photos, tmp_path: Path) -> None:
    out = tmp_path / "boats.onnx"
    out.mkdir()
    with pytest.raises(OutputError, match=r"boats\.onnx: can't be written: Is a directory"):
        make(loaded_run, out, valid)
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture(scope="module", params=["finetune", "cnn"])
def other_run(
    request: pytest.FixtureRequest, dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A run with a linear head, or of the small CNN."""
    from boats_train.pipeline import TrainingPipeline, Workspace
    from boats_train.runs.config import TrainConfig

    settings = {
        "finetune": {"backbone": "mobilenet_v3_small", "height": 64, "width": 160},
        "cnn": {"backbone": "small_cnn", "height": 30, "width": 100},
    }[request.param]
    config = TrainConfig(
        str(dataset_folder),
        request.param,
        weights="none",
        learning_rate=1e-2,
        epochs=3,
        batch_size=8,
        **settings,
    )
    place = tmp_path_factory.mktemp("other")
    workspace = Workspace(None, place / "work", resume=False, log=ignore)
    result = TrainingPipeline(config, scan_dataset(dataset_folder), workspace).run()
    return load_run(write_run(result.run, place, request.param))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_export_run__other_models(
    other_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(export, "export_network", export_network)
    out = tmp_path / "boats.onnx"
    drop = None if precision == "fp32" else ANY
    valid = load_verification_images(other_run, None, "valid")
    metadata = make(other_run, out, valid, Settings(precision, max_drop=drop, target="any"))
    assert metadata.threshold is None
    proof = metadata.provenance["proof"]
    assert (proof["labels_equal"], proof["undecided"]) == (7 + len(HARD), 0)
    assert metadata.provenance["calibration"] == {"kind": "softmax of the logits"}
    assert used_operators(out) <= CUDA | {"Erf", "HardSigmoid", "HardSwish"}


def used_operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}
