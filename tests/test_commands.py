"""Train, export and predict in one folder, with the commands as a user types them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.process import CommandResult, run_command

# Tests do not download the ImageNet weights.
RANDOM_WEIGHTS = {"BOATS_TRAIN_WEIGHTS": "none"}


@pytest.fixture
def folder(dataset_folder: Path, tmp_path: Path) -> Path:
    """A folder with an image and, in `data`, a few images of each class."""
    for split, count in (("train", 3), ("valid", 1)):
        for source in sorted((dataset_folder / split).iterdir()):
            target = tmp_path / "data" / split / source.name
            target.mkdir(parents=True)
            for path in sorted(source.iterdir())[:count]:
                shutil.copy(path, target)
    shutil.copy(dataset_folder / "test" / "topa" / "00.jpg", tmp_path / "image.jpg")
    return tmp_path


def check_output(result: CommandResult) -> str:
    """Check that a command succeeded without a warning and return its output."""
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr
    return result.stdout


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def read_proof(model: Path) -> dict[str, Any]:
    """Return the export proof in the metadata of a model."""
    from boats_runtime.classifier import Classifier

    return Classifier(model, "cpu").metadata.provenance["proof"]


def test_commands__train_export_predict(folder: Path) -> None:
    trained = check_output(run_command("boats-train", cwd=folder, env=RANDOM_WEIGHTS))
    assert "accuracy" in trained
    config = read_json(folder / "runs" / "latest" / "config.json")
    assert config["classes"] == ["barca lunga", "gòndola", "topa"]
    settings = config["config"]
    assert (settings["model"], settings["backbone"]) == ("svm", "resnet50")
    assert (settings["image_size"], settings["height"], settings["width"]) == ("auto", 64, 224)
    assert settings["weights"] == "none"

    exported = check_output(run_command("boats-export", "--format", "onnx", cwd=folder))
    assert exported.startswith("boats.onnx: ")

    predicted = check_output(run_command("boats-predict", "image.jpg", cwd=folder))
    name, *label, score = predicted.split()
    assert name == "image.jpg"
    assert " ".join(label).removeprefix("unknown: ") in config["classes"]
    assert 0 < float(score) <= 1


# --- real images


@pytest.fixture(scope="module")
def training_options(boats_data: Path, boats_weights: Path) -> tuple[object, ...]:
    """Options of `boats-train` for the real images and weights.

    The backbone stays frozen: fine-tuning takes half an hour.
    """
    weights = ("--backbone", "mobilenet_v2", "--weights", boats_weights.resolve())
    return ("--data", boats_data.resolve(), *weights, "--unfreeze", "0")


@pytest.fixture(scope="module")
def real_folder(
    training_options: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with a run trained on the real images."""
    folder = tmp_path_factory.mktemp("real")
    check_output(run_command("boats-train", *training_options, cwd=folder))
    return folder


def test_commands__accuracy_and_parity_on_real_images(boats_data: Path, real_folder: Path) -> None:
    folder, valid = real_folder, boats_data.resolve() / "valid"
    metrics = read_json(folder / "runs" / "latest" / "metrics.json")
    assert metrics["splits"]["valid"]["accuracy"] >= 0.925
    held_out = metrics["cross_validation_with_valid"]
    assert held_out["kind"] == "leave-one-group-out"
    assert held_out["mean_accuracy"] >= 0.885

    check_output(run_command("boats-export", "--format", "onnx", cwd=folder))
    options = ("--json", "--report", "report.html")
    evaluated = run_command("boats-evaluate", "boats.onnx", valid, *options, cwd=folder)
    file_metrics = json.loads(check_output(evaluated))["files"][0]["metrics"]
    assert file_metrics == metrics["splits"]["valid"]
    assert (folder / "report.html").stat().st_size < 5e6

    paths = sorted(valid.glob("*/*.jpg"))
    assert len(paths) == metrics["splits"]["valid"]["photos"]
    predicted = run_command("boats-predict", "--json", "--top", 99, *paths, cwd=folder)
    predictions = json.loads(check_output(predicted))["predictions"]
    labels = [prediction["label"] for prediction in predictions]
    assert (
        np.mean([label == path.parent.name for label, path in zip(labels, paths, strict=True)])
        >= 0.85
    )

    expected_labels, expected = predict_with_sklearn(folder / "runs" / "latest", paths)
    assert labels == expected_labels
    differences = [
        abs(score["score"] - probabilities[score["label"]])
        for prediction, probabilities in zip(predictions, expected, strict=True)
        for score in prediction["top"]
    ]
    assert len(differences) == len(paths) * len(expected[0])
    assert max(differences) <= 1e-4

    proof = read_proof(folder / "boats.onnx")
    assert proof["photos"] == len(paths)
    assert proof["labels_equal"] == len(paths) + proof["hard_photos"]
    assert proof["largest_difference"] <= 1e-4


def test_commands__int8_keeps_the_accuracy_on_real_images(
    boats_data: Path, training_options: tuple[object, ...], real_folder: Path
) -> None:
    # The quantized network processes all training images twice: 40 per class take seconds.
    data = real_folder / "small-data"
    for folder in sorted((boats_data / "train").iterdir()):
        (data / "train" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[::-1][:40]:
            (data / "train" / folder.name / path.name).symlink_to(path.resolve())
    (data / "valid").symlink_to((boats_data / "valid").resolve())
    runs = real_folder / "small-runs"
    options = (*training_options, "--data", data, "--out", runs)
    check_output(run_command("boats-train", *options, cwd=real_folder))
    export = ("--format", "onnx", "--precision", "int8", "--out", "int8.onnx")
    check_output(run_command("boats-export", runs / "latest", *export, cwd=real_folder))
    assert (real_folder / "int8.onnx").stat().st_size < 8e6
    proof = read_proof(real_folder / "int8.onnx")
    assert proof["after"]["accuracy"] >= proof["before"]["accuracy"] - 0.005
    assert proof["after"]["macro_f1"] >= proof["before"]["macro_f1"] - 0.01
    assert set(proof["without_refit"]) == {"accuracy", "macro_f1", "recall"}


def test_commands__lower_learning_rates_fit_real_images_less(
    training_options: tuple[object, ...], real_folder: Path
) -> None:
    accuracies = []
    for learning_rate in ("1e-2", "1e-4", "1e-6"):
        runs = real_folder / learning_rate
        options = ("--model", "finetune", "--lr", learning_rate, "--out", runs)
        check_output(run_command("boats-train", *training_options, *options, cwd=real_folder))
        metrics = read_json(runs / "latest" / "metrics.json")
        accuracies.append(metrics["splits"]["train"]["accuracy"])
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(set(accuracies)) == 3


def predict_with_sklearn(
    run_folder: Path, paths: list[Path]
) -> tuple[list[str], list[dict[str, float]]]:
    """Return labels and probabilities by label from PyTorch and scikit-learn."""
    import torch

    from boats_runtime.decoding import decode
    from boats_train.runs.run import load_run

    run = load_run(run_folder)
    rows = []
    with torch.inference_mode():
        for path in paths:
            pixels = np.stack([run.preprocessing.apply(decode(path))])
            rows.append(run.network(torch.from_numpy(pixels)).numpy())
    features = np.concatenate(rows)
    labels = [run.classes[index] for index in run.estimator.predict(features)]
    probabilities = run.estimator.predict_proba(features).tolist()
    return labels, [dict(zip(run.classes, row, strict=True)) for row in probabilities]
