import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from boats_export.assemble import metadata_of
from boats_runtime.classifier import Classifier
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import decode
from boats_train.runs.run import Run

TOLERANCE = 1e-4  # of a probability


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> onnx.ModelProto:
    return onnx.load(tiny_model)


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("kind", ["photos", "noise", "black", "white"])
def test_assemble__equals_the_run(
    loaded_run: Run, classifier: Classifier, dataset_folder: Path, kind: str, batch: int
) -> None:
    rng = np.random.default_rng(batch)
    pixels = {
        "noise": rng.integers(0, 256, (batch, 64, 160, 3), dtype=np.uint8),
        "black": np.zeros((batch, 64, 160, 3), np.uint8),
        "white": np.full((batch, 64, 160, 3), 255, np.uint8),
        "photos": np.stack(
            [
                loaded_run.preprocessing.apply(decode(path))
                for path in rng.permutation(sorted(dataset_folder.glob("*/*/*.jpg")))[:batch]
            ]
        ),
    }[kind]
    probabilities, labels = classifier.run(pixels)
    with torch.inference_mode():
        features = loaded_run.network(torch.from_numpy(pixels)).numpy()
    expected = loaded_run.estimator.predict_proba(features)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(labels, loaded_run.estimator.predict(features))


def test_assemble__interface(model: onnx.ModelProto) -> None:
    def signature(value: onnx.ValueInfoProto) -> tuple[str, int, list[int | str]]:
        tensor = value.type.tensor_type
        shape = [side.dim_value or side.dim_param for side in tensor.shape.dim]
        return value.name, tensor.elem_type, shape

    types = onnx.TensorProto
    assert [signature(value) for value in model.graph.input] == [
        ("image", types.UINT8, ["batch", 64, 160, 3])
    ]
    assert sorted(signature(value) for value in model.graph.output) == [
        ("label", types.INT64, ["batch"]),
        ("probabilities", types.FLOAT, ["batch", 3]),
    ]


def test_assemble__versions(model: onnx.ModelProto) -> None:
    assert model.ir_version == 10
    versions = {entry.domain: entry.version for entry in model.opset_import}
    assert versions[""] == 18
    assert set(versions) == {""}
    assert model.producer_name == "boats"


def test_assemble__is_a_valid_model_in_one_file(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_assemble__metadata_has_everything(model: onnx.ModelProto, loaded_run: Run) -> None:
    properties = {entry.key: entry.value for entry in model.metadata_props}
    metadata = ModelMetadata.from_properties(properties)
    assert metadata.labels == loaded_run.classes
    assert metadata.preprocessing == loaded_run.preprocessing
    assert properties["task"] == "classify"
    assert properties["imgsz"] == "[64, 160]"
    assert properties["names"] == "{0: 'barca lunga', 1: 'gòndola', 2: 'topa'}"
    provenance = metadata.provenance
    assert provenance["config"] == loaded_run.config.to_json()
    metrics = provenance["metrics"]
    assert metrics.items() <= loaded_run.metrics.items()
    assert set(loaded_run.metrics) - set(metrics) == {"data", "operating_point"}
    assert provenance["data"] == loaded_run.metrics["data"]
    assert provenance["calibration"]["slope"] == loaded_run.estimator.slope_
    assert provenance["calibration"]["offsets"] == loaded_run.estimator.offsets_.tolist()
    point = loaded_run.metrics["operating_point"]
    assert (provenance["operating_point"], metadata.threshold) == (point, point["threshold"])
    assert provenance["training_versions"] == loaded_run.versions
    assert set(provenance["export_versions"]) >= {"boats", "onnx", "skl2onnx", "torch"}
    proof = provenance["proof"]
    assert (proof["photos"], proof["hard_photos"], proof["labels_equal"]) == (7, 4, 11)
    assert 0 <= proof["largest_difference"] <= TOLERANCE


def test_metadata_of__says_nothing_before_it_is_proved(loaded_run: Run) -> None:
    properties = metadata_of(loaded_run, {}).to_properties()
    assert json.loads(properties["boats.provenance"])["proof"] == {}
    assert json.loads(properties["boats.preprocessing"]) == json.loads(
        json.dumps(asdict(loaded_run.preprocessing))
    )
