import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from boats_evaluate import predictions as judging
from boats_evaluate.labeled_images import Photo, find_images
from boats_evaluate.predictions import judge, open_files
from boats_runtime.classifier import Classifier
from boats_runtime.errors import DataError, ImageError, UsageError
from boats_runtime.preprocessing import Preprocessing, decode


def test_judge__says_what_predict_says(tiny_model: Path, dataset_folder: Path) -> None:
    classifier = Classifier(tiny_model, "cpu")
    photos = find_images(dataset_folder / "train", classifier.metadata.labels)
    judged = judge([classifier], photos)
    assert judged.photos == tuple(photos)
    (answers,) = judged.answers
    for place, photo in enumerate(photos):
        expected = classifier.predict(photo.path)
        assert classifier.metadata.labels[answers.predicted[place]] == expected.label
        assert answers.scores[place] == pytest.approx(expected.score, abs=1e-5)
        assert judged.digests[place] == hashlib.sha256(photo.path.read_bytes()).digest()


def test_judge__files_of_another_size_and_label_order(
    save_colours: Callable[..., Path], colours: Path, painted: Path, tmp_path: Path
) -> None:
    first = Classifier(colours, "cpu")
    turned = tuple(reversed(first.metadata.labels))
    other = save_colours(tmp_path / "other.onnx", labels=turned, size=(5, 7), batch=3)
    files = [first, Classifier(other, "cpu")]
    judged = judge(files, find_images(painted, first.metadata.labels))
    one, two = judged.answers
    assert one.predicted.tolist() == two.predicted.tolist()
    assert one.scores == pytest.approx(two.scores, abs=0.02)


def test_judge__decodes_each_photo_once(
    colours: Path, reddish: Path, painted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    read = Preprocessing.read

    def count(preprocessing: Preprocessing, content: bytes) -> np.ndarray:
        decoded.append(content)
        return read(preprocessing, content)

    monkeypatch.setattr(Preprocessing, "read", count)
    files = open_files([colours, reddish], "cpu")
    photos = find_images(painted, files[0].metadata.labels)
    judge(files, photos)
    assert len(decoded) == len(photos) == 20


def test_judge__unreadable_photos_are_listed(colours: Path, painted: Path, tmp_path: Path) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    well = next(painted.glob("red/*.jpg"))
    broken.write_bytes(well.read_bytes()[:300])
    photos = [Photo(broken, "red"), Photo(well, "red"), Photo(missing, "red")]
    judged = judge(open_files([colours], "cpu"), photos)
    assert judged.photos == (photos[1],)
    assert len(judged.answers[0].predicted) == 1
    names, errors = zip(*judged.unreadable, strict=True)
    assert names == ("red/broken.jpg", "red/missing.jpg")
    assert errors[1] == "can't be read: No such file or directory"
    with pytest.raises(ImageError, match=errors[0].split(":")[0]):
        decode(broken)
    with pytest.raises(DataError, match=r"none of the 1 photos can be read; red/broken\.jpg: "):
        judge(open_files([colours], "cpu"), photos[:1])


def test_open_files__other_labels(colours: Path, tiny_model: Path) -> None:
    with pytest.raises(
        UsageError, match=f"{tiny_model}: has other labels than {colours}: <script>, barca"
    ):
        open_files([colours, colours, tiny_model], "cpu")


def test_of__chosen_photos() -> None:
    answers = judging.Answers(np.array([0, 1, 2]), np.array([0.5, 0.6, 0.7]))
    chosen = answers.of(np.array([True, False, True]))
    assert (chosen.predicted.tolist(), chosen.scores.tolist()) == ([0, 2], [0.5, 0.7])
