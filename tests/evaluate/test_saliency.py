from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_evaluate.saliency import NOTHING, Saliency, draw_saliency, find_saliency
from boats_runtime.classifier import Classifier

SIZE = (60, 200)


@pytest.fixture
def brightest(save_colours: Callable[..., Path], tmp_path: Path) -> Classifier:
    """A file that looks at each channel's brightest pixel alone."""
    path = save_colours(tmp_path / "max.onnx", reduce="ReduceMax", size=SIZE, batch=5)
    return Classifier(path, "cpu")


@pytest.mark.parametrize(
    ("top", "left", "place"),
    [(52, 190, "bottom right"), (6, 8, "top left"), (52, 108, "bottom centre")],
)
def test_find_saliency__the_one_pixel_that_counts(
    brightest: Classifier, top: int, left: int, place: str
) -> None:
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[top, left, 0] = 255
    probabilities, labels = brightest.run(pixels[np.newaxis])
    score = float(probabilities[0, labels[0]])
    found = find_saliency(brightest, pixels, int(labels[0]), score)
    assert found.place == place
    row, column = np.unravel_index(np.argmax(found.drops), found.drops.shape)
    rows, columns = found.drops.shape
    assert row == top * rows // SIZE[0]
    assert column == left * columns // SIZE[1]
    # Blurred away, nothing is left but black: one in three.
    assert found.largest == pytest.approx(score - 1 / 3, abs=0.05)
    # Far from it nothing changes.
    assert found.drops[rows - 1 - row].min() == pytest.approx(0, abs=1e-6)
    assert 30 <= found.drops.size <= 60


def test_find_saliency__nowhere(brightest: Classifier) -> None:
    pixels = np.full((*SIZE, 3), (90, 0, 0), np.uint8)
    found = find_saliency(brightest, pixels, 2, 0.7)
    assert found.drops.max() - found.drops.min() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [(0, 3, "top left"), (1, 4, "middle centre"), (2, 7, "middle centre"), (3, 8, "bottom right")],
)
def test_place__in_words(row: int, column: int, place: str) -> None:
    drops = np.zeros((4, 12))
    drops[row, column] = 0.5
    assert Saliency(drops).place == place


def test_place__none_alone_decides() -> None:
    assert Saliency(np.full((4, 12), NOTHING / 2)).place == ""
    assert Saliency(np.full((4, 12), -0.5)).largest == 0.0


def test_draw_saliency__orange_where_it_looked() -> None:
    drops = np.zeros((3, 6))
    drops[1, 0] = 0.6
    image = Image.new("RGB", (120, 60), (10, 90, 200))
    drawn = np.asarray(draw_saliency(image, Saliency(drops)), dtype=int)
    assert drawn.shape == (60, 120, 3)
    red, green, blue = drawn[30, 5]
    assert red > green > blue
    assert len(set(drawn[30, 100])) == 1


def test_draw_saliency__grey_where_nothing_decides() -> None:
    image = Image.new("RGB", (120, 60), (10, 90, 200))
    drawn = np.asarray(draw_saliency(image, Saliency(np.full((3, 6), -0.1))))
    assert np.ptp(drawn, axis=2).max() == 0
