"""`boats-predict --output FILE --resume`: each image once, of one model and threshold."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from boats_runtime.classifier import Classifier
from support.process import CommandResult
from support.toy_model import ToyModel

Predict = Callable[..., CommandResult]


def read_statuses(folder: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: row["status"] for row in rows}


def test_predict__resume_retries_errors(
    predict: Predict, tmp_path: Path, image_path: Path, broken_path: Path
) -> None:
    arguments = ("a.jpg", image_path, broken_path, "--output", "r.jsonl")
    first = predict(*arguments)
    assert first.returncode == 1
    assert first.stderr.endswith("boats-predict: 2 of 3 images could not be classified\n")
    shutil.copy(image_path, tmp_path / "a.jpg")
    second = predict(*arguments, "--resume")
    assert second.returncode == 1
    assert second.stderr == (
        "boats-predict: r.jsonl: 2 images, 1 skipped\n"
        "boats-predict: 1 of 3 images could not be classified\n"
    )
    assert read_statuses(tmp_path) == {
        "a.jpg": "ok", str(image_path): "ok", str(broken_path): "error",
    }  # fmt: skip
    shutil.copy(image_path, broken_path)
    assert predict(*arguments, "--resume").returncode == 0
    assert set(read_statuses(tmp_path).values()) == {"ok"}


def test_predict__resume_of_a_file_with_errors_exits_with_1(
    predict: Predict, image_path: Path
) -> None:
    predict("missing.jpg", "--output", "r.jsonl")
    result = predict(image_path, "--output", "r.jsonl", "--resume")
    assert result.returncode == 1
    assert result.stderr.endswith("boats-predict: 1 of 2 images could not be classified\n")


def test_predict__resume_refuses_another_model_or_threshold(
    predict: Predict, tmp_path: Path, image_path: Path, classifier: Classifier
) -> None:
    shutil.copy(image_path, tmp_path / "b.jpg")
    predict("b.jpg", "--output", "r.jsonl")
    content = (tmp_path / "r.jsonl").read_bytes()
    other = ToyModel().save(tmp_path / "toy.onnx")
    digest = classifier.metadata.digest[:12]
    for options, message in (
        ({"model": other}, f"line 1 is of another model ({digest}); choose another file"),
        ({"threshold": 0.9}, "line 1 has the threshold 0, this call 0.9; choose another file"),
    ):
        result = predict(image_path, "--output", "r.jsonl", "--resume", **options)
        assert result.returncode == 2
        assert result.stderr == f"boats-predict: --output r.jsonl: {message}\n"
        assert (tmp_path / "r.jsonl").read_bytes() == content


def test_predict__unreadable_image_is_not_an_error_of_the_output(
    predict: Predict, tmp_path: Path
) -> None:
    name = "a" * 300 + ".jpg"
    result = predict(name, "--output", "r.jsonl")
    assert result.returncode == 1
    assert "cannot be written" not in result.stderr
    (row,) = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
    assert (row["path"], row["error"]) == (name, "cannot be read: File name too long")
