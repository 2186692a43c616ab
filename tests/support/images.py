"""Small images and datasets for the tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("barca lunga", "gòndola", "topa")
COUNTS = {"train": (6, 4, 3), "valid": (3, 2, 2), "test": (2, 1, 1)}
COLORS = ((190, 60, 50), (30, 40, 60), (60, 150, 190))
WIDTH, HEIGHT = 200, 60


def draw_image(label: int, rng: np.random.Generator) -> Image.Image:
    """Return an image of noisy water with a shape whose form and color give the class."""
    noise = rng.integers(90, 170, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    pen = ImageDraw.Draw(image)
    x, y = int(rng.integers(5, 40)), int(rng.integers(5, 20))
    box = (x, y, x + 110 + 15 * label, y + 30)
    shape = (pen.rectangle, pen.ellipse, pen.rounded_rectangle)[label]
    shape(box, fill=COLORS[label])
    return image


def write_dataset(root: Path) -> None:
    """Write a dataset of three classes of unequal size with `train`, `valid` and `test`."""
    rng = np.random.default_rng(0)
    for split, counts in COUNTS.items():
        for label, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                draw_image(label, rng).save(folder / f"{number:02}.jpg", quality=90)


def save_color_image(path: Path, color: Sequence[int], seed: int) -> None:
    """Write an image of one color with a little noise."""
    noise = np.random.default_rng(seed).integers(-12, 12, (30, 90, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, "JPEG", quality=92)
