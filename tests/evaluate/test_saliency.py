from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_evaluate.saliency import MIN_DROP, Saliency, compute_saliency, draw_saliency
from boats_runtime.classifier import Classifier
from support.models import save_color_model

SIZE = (60, 200)


@pytest.fixture
def brightest_pixel(tmp_path: Path) -> Classifier:
    """A model whose prediction depends only on the brightest pixel of each channel."""
    path = save_color_model(tmp_path / "max.onnx", reduce="ReduceMax", size=SIZE, batch_size=5)
    return Classifier(path, "cpu")


@pytest.mark.parametrize(
    ("top", "left", "region"),
    [(52, 190, "bottom right"), (6, 8, "top left"), (52, 108, "bottom center")],
)
def test_compute_saliency__finds_the_decisive_pixel(
    brightest_pixel: Classifier, top: int, left: int, region: str
) -> None:
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[top, left, 0] = 255
    probabilities, labels = brightest_pixel.run(pixels[np.newaxis])
    score = float(probabilities[0, labels[0]])
    saliency = compute_saliency(brightest_pixel, pixels, int(labels[0]), score)
    assert saliency.region == region
    rows, columns = saliency.drops.shape
    row, column = np.unravel_index(np.argmax(saliency.drops), saliency.drops.shape)
    assert (row, column) == (top * rows // SIZE[0], left * columns // SIZE[1])
    # Without the pixel the image is black, and all labels have the probability 1/3.
    assert saliency.max_drop == pytest.approx(score - 1 / 3, abs=0.05)
    assert saliency.drops[rows - 1 - row].min() == pytest.approx(0, abs=1e-6)


def test_compute_saliency__uniform_image(brightest_pixel: Classifier) -> None:
    pixels = np.full((*SIZE, 3), (90, 0, 0), np.uint8)
    saliency = compute_saliency(brightest_pixel, pixels, 2, 0.7)
    assert np.ptp(saliency.drops) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "column", "drop", "region"),
    [
        (0, 3, 0.5, "top left"),
        (1, 4, 0.5, "middle center"),
        (2, 7, 0.5, "middle center"),
        (3, 8, 0.5, "bottom right"),
        (3, 8, MIN_DROP / 2, ""),
        (3, 8, -0.5, ""),
    ],
)
def test_region__of_the_largest_drop(row: int, column: int, drop: float, region: str) -> None:
    drops = np.zeros((4, 12))
    drops[row, column] = drop
    saliency = Saliency(drops)
    assert saliency.region == region
    assert saliency.max_drop == max(0, drop)


def test_draw_saliency__important_parts_are_orange() -> None:
    drops = np.zeros((3, 6))
    drops[1, 0] = 0.6
    image = Image.new("RGB", (120, 60), (10, 90, 200))
    drawing = np.asarray(draw_saliency(image, Saliency(drops)))
    assert drawing.shape == (60, 120, 3)
    red, green, blue = drawing[30, 5]
    assert red > green > blue
    assert np.ptp(drawing[:, 60:], axis=2).max() == 0
