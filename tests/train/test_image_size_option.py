import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from boats_data.dataset import scan_dataset
from boats_train.runs.config import TrainConfig
from boats_train.runs.inputs import training_digest

Train = Callable[..., object]

OPTIONS = (
    "--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--tune", "off", "--cache", "none",
)  # fmt: skip


def read_config(runs: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((runs / "latest" / "config.json").read_text())["config"]
    return config


def test_train__image_size_follows_the_images(
    train: Train, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--data", dataset_folder, *OPTIONS) == 0
    errors = capsys.readouterr().err
    assert "boats-train: image size 64x224: median of 13 images is 60x200; " in errors
    assert "predicts its class" not in errors
    config = read_config(tmp_path / "runs")
    assert (config["image_size"], config["height"], config["width"]) == ("auto", 64, 224)
    assert train("--data", dataset_folder, "--from", "runs", "--tune", "off") == 0
    assert read_config(tmp_path / "runs")["image_size"] == "64x224"


def test_train__square_image_size(
    train: Train, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--data", dataset_folder, "--image-size", "64", *OPTIONS) == 0
    config = read_config(tmp_path / "runs")
    assert (config["image_size"], config["height"], config["width"]) == ("64", 64, 64)
    assert "image size" not in capsys.readouterr().err


def test_train__cnn_keeps_its_image_size(
    train: Train, dataset_folder: Path, tmp_path: Path
) -> None:
    assert train("--data", dataset_folder, "--model", "cnn", "--epochs", "1") == 0
    config = read_config(tmp_path / "runs")
    assert (config["image_size"], config["height"], config["width"]) == ("30x100", 30, 100)


def test_train__warns_of_one_shape_per_class(
    train: Train, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(dataset_folder, tmp_path / "images"))
    for number, folder in enumerate(sorted((data / "train").iterdir())):
        for path in folder.iterdir():
            with Image.open(path) as image:
                resized = image.resize((200 - 50 * number, 60))
            for copy in ("", "a", "b"):
                resized.save(path.with_stem(path.stem + copy))
    assert train("--data", data, *OPTIONS) == 0
    errors = capsys.readouterr().err
    assert "warning: The aspect ratio (width / height) of an image predicts its class: " in errors
    assert "for 100% of the training images, the most frequent class for 46%" in errors


def test_training_digest__same_for_the_chosen_and_the_given_size(dataset_folder: Path) -> None:
    config = TrainConfig(str(dataset_folder), height=64, width=224, image_size="auto")
    dataset = scan_dataset(dataset_folder)
    digest = training_digest(config, dataset)
    assert training_digest(replace(config, image_size="64x224"), dataset) == digest
    assert training_digest(replace(config, width=192), dataset) != digest
