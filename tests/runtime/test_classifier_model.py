from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime import InferenceSession

from boats_runtime.classifier import Classifier
from boats_runtime.decoding import decode
from boats_runtime.errors import ModelError, UsageError
from boats_runtime.model_session import (
    ACCELERATOR_BATCH_SIZE,
    OUTPUTS,
    ModelSession,
)
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.providers.session import ActiveSession, open_session
from support.toy_model import HEIGHT, WIDTH, ToyModel, make_pixels

FIXED_BATCH = {"input_shape": (4, HEIGHT, WIDTH, 3)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Path for the model of a test."""
    return tmp_path / "model.onnx"


# --- run


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_run__batch_size_does_not_matter(
    classifier: Classifier, dataset_folder: Path, batch: int
) -> None:
    paths = sorted(dataset_folder.glob("valid/*/*.jpg"))
    pixels = np.stack([classifier.metadata.preprocessing.apply(decode(path)) for path in paths])
    single = [classifier.run(pixels[index : index + 1]) for index in range(7)]
    parts = [classifier.run(pixels[start : start + batch]) for start in range(0, 7, batch)]
    probabilities, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert (probabilities.shape, probabilities.dtype) == ((7, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((7,), np.int64)
    np.testing.assert_allclose(probabilities, np.concatenate([p for p, _ in single]), atol=1e-5)
    np.testing.assert_array_equal(labels, np.concatenate([label for _, label in single]))
    assert len(np.unique(np.round(probabilities, 3), axis=0)) > 1


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 4, 7])
def test_run__fixed_batch_equals_dynamic_batch(tmp_path: Path, batch: int, count: int) -> None:
    fixed = ToyModel(input_shape=(batch, HEIGHT, WIDTH, 3)).save(tmp_path / "fixed.onnx")
    dynamic = ToyModel().save(tmp_path / "dynamic.onnx")
    pixels = make_pixels(7)[:count]
    probabilities, labels = Classifier(fixed, "cpu").run(pixels)
    expected, expected_labels = Classifier(dynamic, "cpu").run(pixels)
    assert (probabilities.shape, probabilities.dtype) == ((count, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("options", [{}, FIXED_BATCH])
def test_run__wrong_pixels(model: Path, options: dict[str, object]) -> None:
    classifier = Classifier(ToyModel(**options).save(model), "cpu")
    pixels = make_pixels(1)
    for wrong in (pixels.astype(np.float32), pixels[:, 1:], pixels[0]):
        with pytest.raises(UsageError, match=r"expected pixels \(N, 4, 6, 3\) uint8"):
            classifier.run(wrong)


@pytest.mark.parametrize("defect", ["label", "shape", "nan", "error"])
def test_run__invalid_outputs(model: Path, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    toy = Classifier(ToyModel().save(model), "cpu")
    probabilities, labels = toy.run(make_pixels(2))

    class BrokenSession:
        def run(self, *_: object) -> list[NDArray]:
            if defect == "error":
                raise RuntimeError("Non-zero status code\nby a node")
            if defect == "label":
                return [probabilities, labels + 9]
            return [probabilities[:1] if defect == "shape" else probabilities * np.nan, labels]

    monkeypatch.setattr(toy._session, "_session", BrokenSession())
    message = "fails on this input: Non-zero status code$" if defect == "error" else "invalid prob"
    with pytest.raises(ModelError, match=message):
        toy.run(make_pixels(2))


def test_run__accelerators_get_two_shapes(model: Path) -> None:
    toy = Classifier(ToyModel().save(model), "cpu")
    expected = toy.run(make_pixels(20))[0]
    shapes: set[tuple[int, ...]] = set()

    class RecordingSession:
        def __init__(self, session: InferenceSession) -> None:
            self._session = session
            self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs

        def run(self, names: list[str], feeds: dict[str, NDArray[np.uint8]]) -> list[NDArray]:
            shapes.add(feeds["image"].shape)
            return self._session.run(names, feeds)

    recording = RecordingSession(open_session(model.read_bytes(), "cpu").session)
    session = ModelSession(ActiveSession(recording, "cuda", "", {}), toy.metadata)
    for count in (1, 2, 5, 16, 20):
        probabilities, _ = session.run(make_pixels(20)[:count], OUTPUTS)
        np.testing.assert_allclose(probabilities, expected[:count], atol=1e-6)
    assert shapes == {(1, HEIGHT, WIDTH, 3), (ACCELERATOR_BATCH_SIZE, HEIGHT, WIDTH, 3)}


# --- embed


@pytest.mark.parametrize("batch", ["batch", 1, 4])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_embed__returns_the_features(model: Path, batch: str | int, count: int) -> None:
    toy = ToyModel(input_shape=(batch, HEIGHT, WIDTH, 3), features="mean")
    classifier = Classifier(toy.save(model), "cpu")
    pixels = make_pixels(count)
    features = classifier.embed(pixels)
    assert (features.shape, features.dtype) == ((count, 3), np.float32)
    np.testing.assert_allclose(features, pixels.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(classifier.run(pixels)[1], features.argmax(axis=1))


def test_embed__file_without_features(model: Path) -> None:
    classifier = Classifier(ToyModel().save(model), "cpu")
    with pytest.raises(UsageError, match="--with-features"):
        classifier.embed(make_pixels(2))


# --- model files


def test_classifier__reports_provider_and_metadata(
    classifier: Classifier, tiny_model: Path
) -> None:
    assert (classifier.provider, classifier.nodes) == ("cpu", {})
    assert classifier.selection_reason == classifier.provider_reason != ""
    assert classifier.metadata.labels == ("barca lunga", "gòndola", "topa")
    assert classifier.metadata.preprocessing == Preprocessing(64, 160)
    assert Classifier(str(tiny_model), "cpu").metadata == classifier.metadata


def test_classifier__error_names_the_file(tmp_path: Path, model: Path, image_path: Path) -> None:
    foreign = ToyModel(metadata=False).save(model)
    for path in (tmp_path / "missing.onnx", tmp_path, image_path, foreign):
        with pytest.raises(ModelError) as caught:
            Classifier(path, "cpu")
        assert str(caught.value).startswith(f"{path}: ")
    assert "export it with boats-export" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"input": "input"},
        {"input_type": TensorProto.FLOAT},
        {"input_shape": ("batch", HEIGHT, WIDTH + 1, 3)},
        {"input_shape": ("batch", 3, HEIGHT, WIDTH)},
        {"input_shape": ("batch", "height", "width", 3)},
        {"input_shape": (0, HEIGHT, WIDTH, 3)},
        {"input_shape": (1, HEIGHT, WIDTH + 1, 3)},
    ],
    ids=str,
)
def test_classifier__unexpected_input(model: Path, options: dict[str, object]) -> None:
    ToyModel(**options).save(model)
    with pytest.raises(ModelError, match=r"expected one input image \(N, 4, 6, 3\) uint8"):
        Classifier(model, "cpu")


@pytest.mark.parametrize(
    "options",
    [
        {"probabilities": "scores"},
        {"probabilities_type": TensorProto.DOUBLE},
        {"label": "index_of_label"},
        {"label_type": TensorProto.INT32},
        {"keepdims": True},
        {"labels": ("red", "green")},
        {"labels": ("red", "green", "blue", "gray")},
        {"outputs": 1},
        {"outputs": 3},
        {"outputs": 3, "features": "mean"},
        {"features": "mean", "features_type": TensorProto.DOUBLE},
        {"features": "mean", "features_type": TensorProto.INT64},
        {"features": "index"},
        {"features": "pixels"},
    ],
    ids=str,
)
def test_classifier__unexpected_outputs(model: Path, options: dict[str, object]) -> None:
    ToyModel(**options).save(model)
    with pytest.raises(ModelError, match="expected outputs probabilities"):
        Classifier(model, "cpu")
