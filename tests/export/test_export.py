import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from boats_data.dataset import scan_dataset
from boats_export.assemble import Layout
from boats_export.export import Exporter, ExportSettings
from boats_export.verification_images import (
    STRESS_INPUTS,
    VerificationImages,
    load_verification_images,
)
from boats_runtime.classifier import Classifier
from boats_runtime.model.digest import verify_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_train.runs.run import Run, load_run, write_run

MAX_DROP = 100.0
"""Thirteen training images are too few for the accuracy check."""

FP16 = ExportSettings("fp16", max_drop=MAX_DROP)
INT8 = ExportSettings("int8", max_drop=MAX_DROP, target="vnni")
TOTAL = 7 + len(STRESS_INPUTS)


def export(run: Run, out: Path, settings: ExportSettings) -> ModelMetadata:
    return Exporter(run, settings, lambda _: None).export(out)


@pytest.fixture(scope="module")
def validation(loaded_run: Run) -> VerificationImages:
    return load_verification_images(loaded_run, None, "valid")


@pytest.fixture(scope="module")
def files(
    loaded_run: Run, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A file of each precision."""
    folder = tmp_path_factory.mktemp("files")
    paths = {"fp32": tiny_model, "fp16": folder / "fp16.onnx", "int8": folder / "int8.onnx"}
    for settings in (FP16, INT8):
        export(loaded_run, paths[settings.precision], settings)
    return paths


@pytest.mark.usefixtures("quick_network")
def test_exporter__writes_a_verified_file(loaded_run: Run, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "boats.onnx"
    out.write_text("older")
    metadata = Exporter(loaded_run, ExportSettings(), lines.append).export(out)
    assert list(tmp_path.iterdir()) == [out]
    assert stat.S_IMODE(out.stat().st_mode) == 0o644
    assert Classifier(out, "cpu").metadata == metadata
    verify_digest(out.read_bytes(), metadata.digest)
    assert [line for line in lines if "7 validation images and 4 stress inputs" in line]


def test_exporter__proof(loaded_run: Run, classifier: Classifier) -> None:
    proof = classifier.metadata.provenance["proof"]
    assert (proof["photos"], proof["hard_photos"], proof["labels_equal"]) == (7, 4, TOTAL)
    assert (proof["precision"], proof["opset"], proof["undecided"]) == ("fp32", 18, 0)
    assert 0 < proof["largest_difference"] < proof["tolerance"] == 1e-4
    assert proof["same_label_as_float32"] == TOTAL
    assert proof["before"] == proof["after"]
    assert proof["after"]["accuracy"] == loaded_run.metrics["splits"]["valid"]["accuracy"]


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize("settings", [ExportSettings(), FP16, INT8], ids=lambda s: s.precision)
def test_exporter__is_deterministic(
    loaded_run: Run, tmp_path: Path, files: dict[str, Path], settings: ExportSettings
) -> None:
    out = tmp_path / "repeated.onnx"
    export(loaded_run, out, settings)
    assert out.read_bytes() == files[settings.precision].read_bytes()


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.6), ("int8", 0.3)])
def test_exporter__smaller_file_with_similar_probabilities(
    files: dict[str, Path], validation: VerificationImages, precision: str, share: float
) -> None:
    out = files[precision]
    assert out.stat().st_size < share * files["fp32"].stat().st_size
    pixels = np.stack(list(validation))
    probabilities, labels = Classifier(out, "cpu").run(pixels)
    expected, _ = Classifier(files["fp32"], "cpu").run(pixels)
    assert probabilities.dtype == np.float32
    assert np.array_equal(labels, probabilities.argmax(axis=1))
    # The proof compares with the quantized network, so this tolerance is wide.
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=0.2)
    proof = Classifier(out, "cpu").metadata.provenance["proof"]
    assert (proof["precision"], proof["labels_equal"]) == (precision, TOTAL)
    assert proof["largest_difference"] <= 1e-4


def test_exporter__int8_proof(files: dict[str, Path]) -> None:
    proof = Classifier(files["int8"], "cpu").metadata.provenance["proof"]
    assert set(proof["without_refit"]) == {"accuracy", "macro_f1", "recall"}
    quantization = proof["quantization"]
    assert (quantization["target"], quantization["floats"]) == ("vnni", [])
    assert 0 < quantization["distance"] < 0.1
    assert len(quantization["tried"]) == 4
    assert proof["candidates"] == 1


def test_exporter__int8_stores_support_vectors_in_float16(files: dict[str, Path]) -> None:
    types = [
        tensor.data_type
        for tensor in onnx.load(files["int8"]).graph.initializer
        if "support_vectors" in tensor.name
    ]
    assert types == [onnx.TensorProto.FLOAT16]


CUDA_OPERATORS = {
    "Add", "ArgMax", "AveragePool", "Cast", "Clip", "Concat", "Conv", "DequantizeLinear", "Div",
    "Exp", "Gather", "Gemm", "GlobalAveragePool", "GreaterOrEqual", "Identity", "MatMul",
    "MaxPool", "Min", "Mul", "QuantizeLinear", "ReduceL2", "ReduceMean", "ReduceSum",
    "ReduceSumSquare", "Relu", "Reshape", "Shape", "Sigmoid", "Softmax", "Softsign", "Split",
    "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators with kernels in ONNX Runtime's CUDA provider (docs/OperatorKernels.md in
microsoft/onnxruntime)."""


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_exporter__has_only_operators_of_cuda(precision: str, files: dict[str, Path]) -> None:
    model = onnx.load(files[precision])
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {node.op_type for node in model.graph.node} <= CUDA_OPERATORS
    types = {tensor.data_type for tensor in model.graph.initializer}
    types |= {
        attribute.i
        for node in model.graph.node
        if node.op_type == "Cast"
        for attribute in node.attribute
        if attribute.name == "to"
    }
    assert onnx.TensorProto.DOUBLE not in types


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize(("opset", "batch"), [(18, 4), (19, None), (20, 1)])
def test_exporter__opset_batch_and_features(
    loaded_run: Run, classifier: Classifier, validation: VerificationImages, tmp_path: Path,
    opset: int, batch: int | None,
) -> None:  # fmt: skip
    out = tmp_path / "boats.onnx"
    export(loaded_run, out, ExportSettings(layout=Layout(opset, batch, with_features=True)))
    model = onnx.load(out)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == 10
    side = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (side.dim_value or None, side.dim_param) == (batch, "" if batch else "batch")
    pixels = np.stack(list(validation))
    probabilities, labels = Classifier(out, "cpu").run(pixels)
    expected, expected_labels = classifier.run(pixels)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(labels, expected_labels)
    assert Classifier(out, "cpu").embed(pixels).shape == (7, 512)


@pytest.fixture(scope="module", params=["finetune", "cnn"])
def other_run(
    request: pytest.FixtureRequest, dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A run with a linear head, or of the small CNN."""
    from boats_train.pipeline import TrainingPipeline, Workspace
    from boats_train.runs.config import TrainConfig

    config = TrainConfig(
        str(dataset_folder), "cnn", "small_cnn", "none", 30, 100,
        learning_rate=1e-2, epochs=3, batch_size=8,
    )  # fmt: skip
    if request.param == "finetune":
        config = replace(
            config, model="finetune", backbone="mobilenet_v3_small", height=64, width=160
        )
    folder = tmp_path_factory.mktemp("other")
    workspace = Workspace(None, folder / "work", resume=False, log=lambda _: None)
    result = TrainingPipeline(config, scan_dataset(dataset_folder), workspace).run()
    return load_run(write_run(result.run, folder, request.param))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_exporter__linear_classifiers(other_run: Run, tmp_path: Path, precision: str) -> None:
    out = tmp_path / "boats.onnx"
    target = "any" if precision == "int8" else "auto"
    metadata = export(other_run, out, ExportSettings(precision, max_drop=MAX_DROP, target=target))
    assert metadata.threshold is None
    proof = metadata.provenance["proof"]
    assert (proof["labels_equal"], proof["undecided"]) == (TOTAL, 0)
    assert metadata.provenance["calibration"] == {"kind": "softmax of the logits"}
    operators = {node.op_type for node in onnx.load(out).graph.node}
    assert operators <= CUDA_OPERATORS | {"Erf", "HardSigmoid", "HardSwish"}
