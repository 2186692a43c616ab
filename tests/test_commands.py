"""The three commands as a customer types them, in one folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.process import CommandResult, run_command

# The tests reach no network: ImageNet's weights can't be downloaded.
RANDOM_WEIGHTS = {"BOATS_TRAIN_WEIGHTS": "none"}


@pytest.fixture
def folder(dataset_folder: Path, tmp_path: Path) -> Path:
    """A customer's folder: `data` with few photos of each class, and a photo beside it."""
    for split, count in (("train", 3), ("valid", 1)):
        for source in sorted((dataset_folder / split).iterdir()):
            target = tmp_path / "data" / split / source.name
            target.mkdir(parents=True)
            for path in sorted(source.iterdir())[:count]:
                shutil.copy(path, target)
    shutil.copy(dataset_folder / "test" / "topa" / "00.jpg", tmp_path / "image.jpg")
    return tmp_path


def succeed(result: CommandResult) -> str:
    """Checks that a command succeeded without a traceback or a warning, returns its output."""
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    return result.stdout


def test_commands__train_export_predict(folder: Path) -> None:
    trained = succeed(run_command("boats-train", cwd=folder, env=RANDOM_WEIGHTS))
    assert "accuracy" in trained
    config = json.loads((folder / "runs" / "latest" / "config.json").read_text())
    assert config["classes"] == ["barca lunga", "gòndola", "topa"]
    settings = config["config"]
    assert (settings["model"], settings["backbone"]) == ("svm", "resnet50")
    assert (settings["height"], settings["width"]) == (240, 800)
    assert settings["weights"] == "none"

    exported = succeed(run_command("boats-export", "--format", "onnx", cwd=folder))
    assert exported.startswith("boats.onnx: ")

    predicted = succeed(run_command("boats-predict", "image.jpg", cwd=folder))
    name, *label, score = predicted.split()
    assert name == "image.jpg"
    assert " ".join(label).removeprefix("unknown: ") in config["classes"]
    assert 0 < float(score) <= 1


@pytest.fixture(scope="module")
def real_run(
    boats_data: Path,
    boats_weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with a run on the real photos."""
    folder = tmp_path_factory.mktemp("real")
    options = ("--backbone", "mobilenet_v2", "--weights", boats_weights.resolve())
    succeed(run_command("boats-train", "--data", boats_data.resolve(), *options, cwd=folder))
    return folder


def test_commands__real_photos(boats_data: Path, real_run: Path) -> None:
    """The must-hold: accurate on real boats, and the file does what scikit-learn does."""
    data, folder = boats_data.resolve(), real_run
    metrics = json.loads((folder / "runs" / "latest" / "metrics.json").read_text())
    assert metrics["splits"]["valid"]["accuracy"] >= 0.925
    held_out = metrics["cross_validation_with_valid"]
    assert held_out["kind"] == "leave-one-group-out"
    assert held_out["mean_accuracy"] >= 0.885

    succeed(run_command("boats-export", "--format", "onnx", cwd=folder))
    photos = sorted((data / "valid").glob("*/*.jpg"))
    assert len(photos) == metrics["splits"]["valid"]["photos"]
    # The must-hold of boats-evaluate: what training recorded, on the shipped file.
    options = ("--json", "--report", "report.html")
    judged = run_command("boats-evaluate", "boats.onnx", data / "valid", *options, cwd=folder)
    assert json.loads(succeed(judged))["files"][0]["metrics"] == metrics["splits"]["valid"]
    assert (folder / "report.html").stat().st_size < 5e6

    output = succeed(run_command("boats-predict", "--json", "--top", 99, *photos, cwd=folder))
    predictions = json.loads(output)["predictions"]
    right = [
        item["label"] == photo.parent.name for item, photo in zip(predictions, photos, strict=True)
    ]
    assert np.mean(right) >= 0.85

    expected_labels, expected = _scikit_learn_on(folder / "runs" / "latest", photos)
    assert [item["label"] for item in predictions] == expected_labels
    scores = [{score["label"]: score["score"] for score in item["top"]} for item in predictions]
    differences = [
        abs(score - wanted[label])
        for given, wanted in zip(scores, expected, strict=True)
        for label, score in given.items()
    ]
    assert len(differences) == len(photos) * len(expected[0])
    assert max(differences) <= 1e-4

    parity = _proof_in(folder / "boats.onnx")
    assert parity["photos"] == len(photos)
    assert parity["labels_equal"] == len(photos) + parity["hard_photos"]
    assert parity["largest_difference"] <= 1e-4


def test_commands__real_photos_in_int8(
    boats_data: Path, boats_weights: Path, real_run: Path
) -> None:
    """The must-hold: nothing lost of the accuracy, and a small file.

    All valid photos, but at most 40 a class to learn from: every one of those goes through the
    quantised network twice, which takes minutes for all of them.
    """
    data = real_run / "few"
    for folder in sorted((boats_data / "train").iterdir()):
        (data / "train" / folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[::-1][:40]:
            (data / "train" / folder.name / photo.name).symlink_to(photo.resolve())
    (data / "valid").symlink_to((boats_data / "valid").resolve())
    options = ("--backbone", "mobilenet_v2", "--weights", boats_weights.resolve())
    runs = real_run / "few-runs"
    succeed(run_command("boats-train", "--data", data, *options, "--out", runs, cwd=real_run))
    export = ("--format", "onnx", "--precision", "int8", "--out", "int8.onnx")
    succeed(run_command("boats-export", runs / "latest", *export, cwd=real_run))
    assert (real_run / "int8.onnx").stat().st_size < 8e6
    proof = _proof_in(real_run / "int8.onnx")
    assert proof["after"]["accuracy"] >= proof["before"]["accuracy"] - 0.005
    assert proof["after"]["macro_f1"] >= proof["before"]["macro_f1"] - 0.01
    assert set(proof["without_refit"]) == {"accuracy", "macro_f1", "recall"}
    inspected = succeed(run_command("boats-export", "inspect", "int8.onnx", cwd=real_run))
    assert "unchanged since its export" in inspected


def test_commands__learning_rates_keep_the_reports_order(
    boats_data: Path, boats_weights: Path, real_run: Path
) -> None:
    """The must-hold: on the train photos, 1e-2 is above 1e-4, and that above 1e-6."""
    options = ("--backbone", "mobilenet_v2", "--weights", boats_weights.resolve())
    accuracies = []
    for rate in ("1e-2", "1e-4", "1e-6"):
        runs = real_run / rate
        head = ("--model", "finetune", "--lr", rate, "--out", runs)
        succeed(
            run_command(
                "boats-train", "--data", boats_data.resolve(), *options, *head, cwd=real_run
            )
        )
        metrics = json.loads((runs / "latest" / "metrics.json").read_text())
        accuracies.append(metrics["splits"]["train"]["accuracy"])
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(set(accuracies)) == 3


def _scikit_learn_on(folder: Path, photos: list[Path]) -> tuple[list[str], list[dict[str, float]]]:
    """Returns the labels and the probabilities that a run itself gives, without ONNX."""
    import torch

    from boats_runtime.preprocessing import decode
    from boats_train.runs.run import load_run

    run = load_run(folder)
    rows = []
    with torch.inference_mode():
        for photo in photos:
            pixels = np.stack([run.preprocessing.apply(decode(photo))])
            rows.append(run.network(torch.from_numpy(pixels)).numpy())
    features = np.concatenate(rows)
    labels = [run.classes[index] for index in run.estimator.predict(features)]
    probabilities = run.estimator.predict_proba(features).tolist()
    return labels, [dict(zip(run.classes, row, strict=True)) for row in probabilities]


def _proof_in(model: Path) -> dict[str, Any]:
    from boats_runtime.classifier import Classifier

    return Classifier(model, "cpu").metadata.provenance["proof"]
