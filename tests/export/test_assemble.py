from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from boats_export.export import Exporter, ExportSettings
from boats_export.verification_images import STRESS_INPUTS
from boats_runtime import __version__
from boats_runtime.classifier import Classifier
from boats_runtime.model.describe import create_card, describe_model
from boats_runtime.model.metadata import ModelMetadata
from boats_train.runs.run import Run

TOLERANCE = 1e-4  # of a probability


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> onnx.ModelProto:
    return onnx.load(tiny_model)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_assemble__noise_gives_the_probabilities_of_the_run(
    loaded_run: Run, classifier: Classifier, batch: int
) -> None:
    rng = np.random.default_rng(batch)
    pixels = rng.integers(0, 256, (batch, 64, 160, 3), dtype=np.uint8)
    probabilities, labels = classifier.run(pixels)
    with torch.inference_mode():
        features = loaded_run.network(torch.from_numpy(pixels)).numpy()
    expected = loaded_run.estimator.predict_proba(features)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(labels, loaded_run.estimator.predict(features))


def test_assemble__interface(model: onnx.ModelProto) -> None:
    signatures = {
        value.name: (
            value.type.tensor_type.elem_type,
            [side.dim_value or side.dim_param for side in value.type.tensor_type.shape.dim],
        )
        for value in (*model.graph.input, *model.graph.output)
    }
    assert signatures == {
        "image": (TensorProto.UINT8, ["batch", 64, 160, 3]),
        "label": (TensorProto.INT64, ["batch"]),
        "probabilities": (TensorProto.FLOAT, ["batch", 3]),
    }
    assert (model.producer_name, model.producer_version) == ("boats", __version__)


def test_assemble__has_no_trace_of_the_machine(tiny_model: Path, model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert str(Path.home()).encode() not in tiny_model.read_bytes()


@pytest.mark.usefixtures("quick_network")
def test_export__file_and_card_have_no_paths(
    loaded_run: Run, dataset_folder: Path, tmp_path: Path
) -> None:
    config = replace(
        loaded_run.config, weights="/secret/weights.pth", from_run="/secret/runs/first"
    )
    metrics = {
        **loaded_run.metrics,
        "inputs": {"weights": "0123456789abcdef" * 4, "from_run": "f" * 64},
        "skipped": [str(dataset_folder / "train" / "topa" / "broken.jpg")],
    }
    out = tmp_path / "boats.onnx"
    run = replace(loaded_run, config=config, metrics=metrics)
    metadata = Exporter(run, ExportSettings(), lambda _: None).export(out)
    texts = [out.read_bytes(), create_card(out, metadata).encode()]
    texts += [line.encode() for line in describe_model(out, metadata) if str(out) not in line]
    for text in texts:
        assert str(dataset_folder).encode() not in text
        assert b"/secret" not in text
    content = out.read_bytes()
    for expected in (b"weights.pth", b"0123456789abcdef" * 4, b"broken.jpg", b"f" * 64):
        assert expected in content
    assert b"weights.pth (SHA-256 0123456789abcdef)" in texts[1].replace(b"\\", b"")


def test_build_metadata__properties(model: onnx.ModelProto, loaded_run: Run) -> None:
    properties = {entry.key: entry.value for entry in model.metadata_props}
    metadata = ModelMetadata.from_properties(properties)
    assert metadata.labels == loaded_run.classes
    assert metadata.preprocessing == loaded_run.preprocessing
    assert properties["task"] == "classify"
    assert properties["imgsz"] == "[64, 160]"
    assert properties["names"] == "{0: 'barca lunga', 1: 'gòndola', 2: 'topa'}"


def test_build_metadata__provenance(model: onnx.ModelProto, loaded_run: Run) -> None:
    metadata = ModelMetadata.from_properties({e.key: e.value for e in model.metadata_props})
    provenance = metadata.provenance
    metrics = dict(loaded_run.metrics)
    operating_point = metrics.pop("operating_point")
    assert metadata.threshold == operating_point["threshold"]
    assert provenance["operating_point"] == operating_point
    assert provenance["data"] == metrics.pop("data")
    assert provenance["inputs"] == metrics.pop("inputs") == {}
    assert provenance["metrics"] == metrics
    config = loaded_run.config.to_json()
    assert provenance["config"] == config | {"data": Path(config["data"]).name}
    assert provenance["calibration"] == {
        "kind": "softmax of slope * score + offset",
        "slope": loaded_run.estimator.slope_,
        "offsets": loaded_run.estimator.offsets_.tolist(),
    }
    assert provenance["training_versions"] == loaded_run.versions
    assert set(provenance["export_versions"]) >= {"boats", "onnx", "skl2onnx", "torch"}
    proof = provenance["proof"]
    count = len(STRESS_INPUTS)
    assert (proof["photos"], proof["hard_photos"], proof["labels_equal"]) == (7, count, 7 + count)
    assert 0 <= proof["largest_difference"] <= TOLERANCE
