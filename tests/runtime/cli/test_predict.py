import csv
import io
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from boats_runtime.classifier import Classifier
from support.process import BIN, CommandResult
from support.toy_model import ToyModel
from support.waiting import wait_until

Predict = Callable[..., CommandResult]


def read_jsonl(result: CommandResult) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


# --- formats


@pytest.mark.parametrize(("options", "shown"), [((), 1), (("--top", 2), 2), (("--top", 99), 3)])
def test_predict__table(
    predict: Predict,
    image_path: Path,
    classifier: Classifier,
    options: tuple[object, ...],
    shown: int,
) -> None:
    result = predict(image_path, *options)
    scores = classifier.predict(image_path).top[:shown]
    cells = "   ".join(f"{score.label} {score.score:.3f}" for score in scores)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{image_path}   {cells}\n"


def test_predict__json(predict: Predict, image_path: Path, classifier: Classifier) -> None:
    result = predict("--json", image_path, "--top", 2)
    assert (result.returncode, result.stderr) == (0, "")
    (output,) = json.loads(result.stdout)["predictions"]
    expected = classifier.predict(image_path)
    assert output["latency_ms"] > 0
    assert (output["path"], output["provider"]) == (str(image_path), "cpu")
    assert output["model"] == classifier.metadata.digest
    assert [score["label"] for score in output["top"]] == [top.label for top in expected.top[:2]]
    assert [score["score"] for score in output["top"]] == pytest.approx(
        [top.score for top in expected.top[:2]], abs=1e-6
    )


def test_predict__jsonl_and_csv_equal_json(
    predict: Predict, dataset_folder: Path, broken_path: Path
) -> None:
    paths = sorted(dataset_folder.glob("test/*/*.jpg"))
    arguments = [paths[0], broken_path, *paths[1:]]
    rows = read_jsonl(result := predict("--jsonl", *arguments))
    assert result.returncode == 1
    assert [row["path"] for row in rows] == list(map(str, arguments))
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "ok", "ok"]
    predictions = json.loads(predict("--json", *arguments).stdout)["predictions"]
    csv_rows = list(csv.DictReader(io.StringIO(predict("--csv", *arguments).stdout)))
    for row, prediction, csv_row in zip(rows, predictions, csv_rows, strict=True):
        assert {**row, "latency_ms": 0} == {**prediction, "latency_ms": 0}
        assert csv_row["path"] == row["path"]
        assert csv_row["score"] == str(row.get("score", ""))


# --- unknown


@pytest.mark.parametrize(("option", "unknown"), [(None, True), (0.3, False), (0.4, True)])
def test_predict__threshold_of_the_model_or_the_option(
    predict: Predict, tmp_path: Path, option: float | None, unknown: bool
) -> None:
    model = ToyModel(threshold=0.4).save(tmp_path / "toy.onnx")
    Image.new("RGB", (50, 20), "gray").save(tmp_path / "gray.png")  # score 1/3
    (row,) = read_jsonl(predict("--jsonl", "gray.png", model=model, threshold=option))
    assert row["unknown"] is unknown


# --- output file


def test_predict__output_continues_after_kills(
    tiny_model: Path, dataset_folder: Path, tmp_path: Path, broken_path: Path
) -> None:
    """No image is lost or classified twice."""
    names = [str(broken_path), *map(str, sorted(dataset_folder.rglob("*.jpg")))]
    (tmp_path / "list.txt").write_text("\n".join(names))
    command = [
        BIN / "boats-predict", "--model", tiny_model, "--provider", "cpu",
        "--output", "results.jsonl", "--resume", "@list.txt",
    ]  # fmt: skip
    results = tmp_path / "results.jsonl"

    def count_lines() -> int:
        return results.read_bytes().count(b"\n") if results.exists() else 0

    for number in (signal.SIGKILL, signal.SIGTERM):
        before = count_lines()
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: count_lines() > before or process.poll() is not None)  # noqa: B023
            process.send_signal(number)
        with results.open("ab") as stream:
            stream.write(b'{"path": "half a li')
    subprocess.run(command, cwd=tmp_path, stderr=subprocess.DEVNULL, check=False)
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["path"] for row in rows] == names
    assert [row["status"] for row in rows] == ["error"] + ["ok"] * (len(names) - 1)


# --- inputs


def test_predict__image_on_standard_input(
    tiny_model: Path, image_path: Path, classifier: Classifier
) -> None:
    command = [BIN / "boats-predict", "--model", tiny_model, "--provider", "cpu", "--jsonl", "-"]
    content = image_path.read_bytes()
    result = subprocess.run(command, input=content, capture_output=True, check=True)
    row = json.loads(result.stdout)
    assert (row["path"], row["label"]) == ("-", classifier.predict(image_path).label)


def test_predict__broken_images_do_not_stop_the_others(
    predict: Predict, image_path: Path, broken_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    result = predict(image_path, broken_path, "missing.jpg", "empty", image_path)
    assert result.returncode == 1
    assert result.stderr == "boats-predict: 3 of 5 images could not be classified\n"
    first, *failures, last = result.stdout.splitlines()
    assert first == last
    names = [line.split("   ")[0].strip() for line in failures]
    assert names == [str(broken_path), "missing.jpg", "empty"]
    assert all("   error: " in line for line in failures)
    assert failures[2].endswith("error: no images in this folder")
