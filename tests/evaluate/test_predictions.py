import hashlib
from pathlib import Path

import numpy as np
import pytest

from boats_evaluate.labeled_images import LabeledImage, find_images
from boats_evaluate.predictions import open_classifiers, predict_all
from boats_runtime.classifier import Classifier
from boats_runtime.errors import DataError, UsageError
from boats_runtime.preprocessing import Preprocessing
from support.models import COLOR_LABELS, save_color_model


def test_predict_all__equals_predict(tiny_model: Path, dataset_folder: Path) -> None:
    classifier = Classifier(tiny_model, "cpu")
    images = find_images(dataset_folder / "train", classifier.metadata.labels)
    result = predict_all([classifier], images)
    (predictions,) = result.predictions
    assert [image.path for image in result.images] == [image.path for image in images]
    for index, image in enumerate(result.images):
        expected = classifier.predict(image.path)
        assert classifier.metadata.labels[predictions.predicted[index]] == expected.label
        assert predictions.scores[index] == pytest.approx(expected.score, abs=1e-5)
        assert image.digest == hashlib.sha256(image.path.read_bytes()).digest()


def test_predict_all__models_with_another_size_and_label_order(
    color_model: Path, color_images: Path, tmp_path: Path
) -> None:
    other = save_color_model(
        tmp_path / "other.onnx", labels=COLOR_LABELS[::-1], size=(5, 7), batch_size=3
    )
    classifiers = open_classifiers([color_model, other], "cpu")
    first, second = predict_all(classifiers, find_images(color_images, COLOR_LABELS)).predictions
    assert first.predicted.tolist() == second.predicted.tolist()
    assert first.scores == pytest.approx(second.scores, abs=0.02)


def test_predict_all__decodes_each_image_once(
    color_model: Path, red_model: Path, color_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    read = Preprocessing.read

    def count(preprocessing: Preprocessing, content: bytes) -> np.ndarray:
        decoded.append(content)
        return read(preprocessing, content)

    monkeypatch.setattr(Preprocessing, "read", count)
    images = find_images(color_images, COLOR_LABELS)
    predict_all(open_classifiers([color_model, red_model], "cpu"), images)
    assert len(decoded) == len(images) == 20


def test_predict_all__lists_unreadable_images(
    color_model: Path, color_images: Path, tmp_path: Path
) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    readable = next(color_images.glob("red/*.jpg"))
    broken.write_bytes(readable.read_bytes()[:300])
    images = [LabeledImage(path, "red") for path in (broken, readable, missing)]
    result = predict_all(open_classifiers([color_model], "cpu"), images)
    assert [image.path for image in result.images] == [readable]
    assert len(result.predictions[0].predicted) == 1
    names, errors = zip(*result.unreadable, strict=True)
    assert names == ("red/broken.jpg", "red/missing.jpg")
    assert errors[1] == "cannot be read: No such file or directory"


def test_predict_all__no_readable_image(color_model: Path, tmp_path: Path) -> None:
    images = [LabeledImage(tmp_path / "1.jpg", "red")]
    with pytest.raises(DataError, match=r"none of the 1 images can be read; red/1\.jpg: "):
        predict_all(open_classifiers([color_model], "cpu"), images)


def test_open_classifiers__different_labels(color_model: Path, tiny_model: Path) -> None:
    message = f"{tiny_model}: labels differ from those of {color_model}: <script>, barca"
    with pytest.raises(UsageError, match=message):
        open_classifiers([color_model, color_model, tiny_model], "cpu")
