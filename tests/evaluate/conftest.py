"""Models that predict the color of an image, images of three colors, and their evaluation."""

from pathlib import Path

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation, evaluate
from boats_runtime.classifier import Classifier
from support.evaluations import make_evaluation
from support.images import save_color_image
from support.models import COLOR_LABELS, save_color_model

RGB = dict(zip(COLOR_LABELS, ((20, 30, 220), (30, 220, 20), (220, 20, 30)), strict=True))


@pytest.fixture(scope="session")
def color_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that predicts the strongest color."""
    return save_color_model(tmp_path_factory.mktemp("color") / "color.onnx")


@pytest.fixture(scope="session")
def red_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the same labels that predicts red for every image."""
    path = tmp_path_factory.mktemp("red") / "red.onnx"
    return save_color_model(path, bias=(0, 0, 9), threshold=None)


@pytest.fixture(scope="session")
def color_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two days: 9 blue, 7 green (2 look red) and 4 red (1 looks blue).

    One file name would end an HTML attribute if it were not escaped.
    """
    root = tmp_path_factory.mktemp("images")
    looks_like = {("green & co", 0): "red", ("green & co", 1): "red", ("red", 3): "<script>"}
    for label, count in zip(COLOR_LABELS, (9, 7, 4), strict=True):
        for number in range(count):
            name = f"{20130304 + number % 2}_{number}"
            name += '"><img src=x>.jpg' if number == 1 else ".jpg"
            color = RGB[looks_like.get((label, number), label)]
            save_color_image(root / label / name, color, seed=number)
    return root


@pytest.fixture(scope="session")
def evaluation(color_model: Path, red_model: Path, color_images: Path) -> Evaluation:
    """Both models evaluated on the color images."""
    files = [(path, Classifier(path, "cpu")) for path in (color_model, red_model)]
    return evaluate(files, color_images)


@pytest.fixture(scope="session")
def large_evaluation() -> Evaluation:
    """Two files evaluated on 100,000 images of 16 classes; about 90% and 85% are correct."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 16, 100_000)
    predicted = [
        np.where(rng.random(100_000) < share, targets, rng.integers(0, 16, 100_000))
        for share in (0.9, 0.85)
    ]
    labels = tuple(f"class {number}" for number in range(16))
    return make_evaluation(labels, targets, *predicted, scores=rng.random(100_000))
