"""Synthetic demo data: images of simple boats on water, to try boats without a dataset."""

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from boats_runtime.errors import OutputError, UsageError

Counts = Mapping[str, tuple[int, int, int]]

DEMO_COUNTS: Counts = {
    "water": (30, 6, 8),
    "ferry": (34, 6, 8),
    "motorboat": (26, 5, 7),
    "sailboat": (18, 4, 6),
    "gondola": (18, 4, 6),
    "rowboat": (20, 4, 6),
}
"""Number of images of each class in `train`, `valid` and `test`."""

# File names start with a day, so that the demo has groups; no two splits share a day.
_FIRST_DAYS = {"train": 20240511, "valid": 20240608, "test": 20240706}
_MARKER = ".boats-demo"  # JSON with seed and counts, by which demo data is recognized

WIDTH, HEIGHT = 800, 240
_ROWS = np.arange(HEIGHT, dtype=np.float32)[:, None]
_COLUMNS = np.arange(WIDTH, dtype=np.float32)[None]
_OVERSAMPLING = 2  # boats are drawn larger and reduced, which smooths their edges

Point = tuple[float, float]
Colors = tuple[tuple[int, int, int], ...]
Shape = tuple[Colors, list[Point]]  # colors to choose from, and a polygon
Pixels = NDArray[np.float32]

_PALE: Colors = ((236, 236, 230), (226, 214, 188))
_PAINT: Colors = (*_PALE, (30, 50, 92), (152, 36, 32), (36, 94, 76), (56, 122, 170), (214, 160, 46))
_WOOD: Colors = ((122, 70, 36), (152, 98, 54), (98, 60, 40))
_SAILS: Colors = (*_PALE, (188, 98, 78))
_DARK: Colors = ((28, 28, 32),)
_GLASS: Colors = ((62, 84, 104),)
_STEEL: Colors = ((176, 182, 188),)
_SKIN: Colors = ((204, 156, 124),)
_WALLS = ((196, 130, 92), (214, 170, 118), (188, 98, 78), (222, 202, 170), (96, 116, 84))
# For each day of a split: colors of the sky, the horizon and the water, and white in percent
_LIGHTS = (
    ((92, 150, 214), (190, 216, 236), (26, 84, 94), (104, 103, 98)),  # noon
    ((170, 188, 206), (222, 228, 234), (52, 94, 98), (95, 96, 97)),  # overcast
    ((126, 172, 230), (234, 222, 206), (40, 84, 102), (102, 96, 92)),  # morning
    ((104, 136, 190), (246, 208, 164), (34, 74, 94), (96, 88, 86)),  # evening
)


def _box(x: float, y: float, width: float, height: float) -> list[Point]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _line(start: Point, end: Point, width: float = 0.012) -> list[Point]:
    return [start, end, (end[0] + width, end[1]), (start[0] + width, start[1])]


def _hull(height: float, stern: float, bow: float, overhang: float) -> list[Point]:
    """Return the side of a hull: height amidships, rise of stern and bow, overhang of the bow."""
    x = np.linspace(-0.5, 0.5, 25)
    y = height + np.where(x < 0, stern, bow) * np.abs(2 * x) ** 2.5
    deck = zip(x.tolist(), y.tolist(), strict=True)
    return [*deck, (0.5 - overhang, -0.02), (overhang / 2 - 0.5, -0.02)]


def _person(x: float, y: float, height: float) -> tuple[Shape, Shape]:
    angles = np.linspace(0, 2 * np.pi, 12)
    center, radius = y + 0.84 * height, 0.13 * height
    head = [(x + radius * np.cos(angle), center + radius * np.sin(angle)) for angle in angles]
    return (_PAINT, _box(x - 0.12 * height, y, 0.24 * height, 0.72 * height)), (_SKIN, head)


# Smallest and largest length, as a fraction of the width of the image, and shapes from back to
# front in units of the length: x from -0.5 (stern) to 0.5 (bow), y from 0 (waterline) upwards.
_BOATS: dict[str, tuple[float, float, list[Shape]]] = {
    "ferry": (0.55, 0.9, [
        *_person(0.3, 0.06, 0.08), *_person(0.35, 0.06, 0.08),
        (_PAINT, _hull(0.06, 0.01, 0.03, 0.03)),
        (_PALE, _box(-0.4, 0.05, 0.66, 0.1)), (_PAINT, _box(-0.42, 0.15, 0.7, 0.012)),
        *((_GLASS, _box(x, 0.08, 0.05, 0.045)) for x in np.linspace(-0.38, 0.19, 9).tolist()),
        (_PALE, _box(0.1, 0.16, 0.11, 0.05)), (_GLASS, _box(0.14, 0.175, 0.06, 0.025)),
    ]),
    "motorboat": (0.34, 0.75, [
        *_person(-0.2, 0.08, 0.17), (_STEEL, _line((-0.3, 0.1), (-0.28, 0.24))),
        (_PAINT, _box(-0.32, 0.24, 0.36, 0.02)),
        (_STEEL, [(-0.02, 0.1), (0.04, 0.24), (0.24, 0.1)]),
        (_PAINT, _hull(0.11, -0.02, 0.05, 0.16)), (_DARK, _box(-0.52, 0, 0.04, 0.14)),
    ]),
    "sailboat": (0.25, 0.36, [
        (_STEEL, _line((0.06, 0.08), (0.06, 0.7))), *_person(-0.32, 0.07, 0.14),
        (_SAILS, [(0.04, 0.68), (0.04, 0.14), (-0.42, 0.13)]),
        (_SAILS, [(0.08, 0.6), (0.48, 0.13), (0.1, 0.14)]),
        (_PALE, _box(-0.15, 0.08, 0.3, 0.05)), (_PAINT, _hull(0.08, 0, 0.03, 0.1)),
    ]),
    "gondola": (0.5, 0.85, [
        *_person(-0.08, 0.02, 0.1), *_person(0.08, 0.02, 0.1), *_person(-0.35, 0.06, 0.2),
        (_WOOD, _line((-0.32, 0.2), (-0.22, -0.02))), (_DARK, _hull(0.035, 0.1, 0.09, 0.2)),
        (_STEEL, _line((0.47, 0.1), (0.51, 0.18), 0.02)), (_PAINT, _box(-0.12, 0.04, 0.24, 0.016)),
    ]),
    "rowboat": (0.3, 0.6, [
        *_person(0.02, 0.05, 0.24), *_person(-0.32, 0.06, 0.22),
        ((*_WOOD, *_PAINT), _hull(0.08, 0.04, 0.08, 0.2)),
        (_WOOD, _line((-0.06, 0.18), (0.24, -0.02), 0.02)),
    ]),
}  # fmt: skip


def draw_image(label: str, light: int, rng: np.random.Generator) -> Image.Image:
    """Draw an RGB image, 800x240, of a class in `DEMO_COUNTS` and the light of a day, 0 to 3."""
    sky, haze, water, white = np.array(_LIGHTS[light], dtype=np.float32)
    horizon = int(rng.integers(20, 60))
    waves = _draw_waves(rng, horizon)
    scene = water * rng.uniform(0.85, 1.3) + 9 * waves[..., None]
    _add(scene, _draw_shore(rng, horizon, sky, haze), horizon, waves)
    if label != "water":
        shortest, longest, shapes = _BOATS[label]
        length = WIDTH * rng.uniform(shortest, longest)
        x = WIDTH / 2 + rng.uniform(-0.5, 0.5) * (WIDTH - length)
        waterline = round(HEIGHT * (rng.uniform(0.62, 0.78) + 0.1 * length / WIDTH))
        scale = (length * rng.choice([-1, 1]), -length * rng.uniform(0.85, 1.2))
        _add(scene, _draw_boat(rng, shapes, (x, waterline), scale), waterline, waves)
    exposed = (scene * white / 100 * rng.uniform(0.85, 1.12)).clip(0, 255).astype(np.uint8)
    blurred = Image.fromarray(exposed).filter(ImageFilter.BoxBlur(rng.uniform(0, 0.7)))
    noisy = np.asarray(blurred) + rng.standard_normal((HEIGHT, WIDTH, 1)) * rng.uniform(1, 6)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _draw_boat(rng: np.random.Generator, shapes: list[Shape], start: Point, scale: Point) -> Pixels:
    """Return a layer with the boat `(240, 800, 4) float32`, 0 to 255."""
    layer = Image.new("RGBA", (WIDTH * _OVERSAMPLING, HEIGHT * _OVERSAMPLING))
    draw = ImageDraw.Draw(layer)
    for colors, polygon in shapes:
        color = (rng.choice(colors) + rng.integers(-12, 13, 3)).clip(0, 255)
        points = (np.array(polygon) * scale + start) * _OVERSAMPLING
        draw.polygon([(x, y) for x, y in points.tolist()], tuple(color.tolist()))
    return np.array(layer.reduce(_OVERSAMPLING), dtype=np.float32)


def _draw_waves(rng: np.random.Generator, horizon: int) -> Pixels:
    """Return the slope of the water `(240, 800) float32`, about -2 to 2, 0 above the horizon."""
    waves: Pixels = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for cells in ((30, 20), (70, 50), (200, 160)):
        noise = Image.fromarray(rng.standard_normal(cells, dtype=np.float32))
        waves += np.asarray(noise.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) / 2
    distance = np.maximum(_ROWS - horizon, 0)
    # Waves are lower and closer together towards the horizon.
    rows = (50 * np.log1p(distance / 15)).astype(int)[:, 0]
    return np.where(distance > 0, waves[rows] * np.float32(rng.uniform(0.4, 1)), np.float32(0))


def _draw_shore(rng: np.random.Generator, horizon: int, sky: Pixels, haze: Pixels) -> Pixels:
    """Return sky and houses above the horizon `(240, 800, 4) float32`."""
    height = (_ROWS / horizon).clip(0, 1)[..., None]
    shore = Image.fromarray((sky + (haze - sky) * height).repeat(WIDTH, 1).astype(np.uint8))
    draw = ImageDraw.Draw(shore)
    size, distance = rng.uniform(20, 60), rng.uniform(0.2, 0.6)
    x = -50.0
    while x < WIDTH:
        width, roof = size * rng.uniform(0.6, 1.8), horizon - size * rng.uniform(0.3, 1)
        wall = rng.choice(_WALLS) * (1 - distance) + haze * distance
        draw.rectangle((x, roof, x + width, horizon), tuple(wall.astype(int).tolist()))
        for left in np.arange(x + size / 8, x + width - size / 6, size / 3):
            for top in np.arange(horizon - size / 3, roof, -size / 3):
                draw.rectangle((left, top, left + size / 8, top + size / 6), (62, 84, 104))
        x += width * rng.uniform(0.9, 1.2)
    return np.array(shore.convert("RGBA"), dtype=np.float32)


def _add(scene: Pixels, layer: Pixels, row: int, waves: Pixels) -> None:
    """Blend a layer into the scene: the rows above `row`, and their reflection below it."""
    depth = _ROWS - row
    rows = (row - 1 - depth + waves * (1 + 0.12 * depth)).clip(0, row - 1).astype(int)
    columns = (_COLUMNS + waves * (0.6 + 0.04 * depth)).clip(0, WIDTH - 1).astype(int)
    reflection = layer[rows, columns] * (depth >= 0)[..., None]
    reflection *= np.array([0.75, 0.75, 0.75, 0.65], dtype=np.float32)
    reflection[..., 3] *= np.exp(-np.abs(depth) / 100)
    for pixels in (reflection, layer * (depth < 0)[..., None]):
        scene += (pixels[..., :3] - scene) * (pixels[..., 3:] / 255)


def write_demo_data(root: Path, seed: int = 0, counts: Counts = DEMO_COUNTS) -> None:
    """Draw the demo dataset into a new folder, completely or not at all.

    The same seed and counts give the same bytes. Demo data that exists is kept.

    Args:
        root: Folder of the dataset, `root/train/<class>/*.jpg` and so on.
        seed: Seed of the images.
        counts: Number of images of each class, a key of `DEMO_COUNTS`, in the three splits.

    Raises:
        UsageError: If the folder exists and is not this demo dataset.
        OutputError: If the folder cannot be written, for example because the disk is full.
    """
    settings = json.dumps({"seed": seed, "counts": dict(counts)}) + "\n"
    marker = root / _MARKER
    try:
        if root.exists() or root.is_symlink():
            if not marker.is_file() or marker.read_bytes() != settings.encode():
                raise UsageError(
                    f"{root}: exists and is not the demo data of seed {seed}; choose a folder that "
                    "does not exist, or omit --demo to train on the images in it"
                )
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".drawing-", dir=root.parent) as scratch:
            folder = Path(scratch, root.name)
            _write_images(folder, seed, counts)
            (folder / _MARKER).write_text(settings)
            folder.rename(root)
    except OSError as error:
        raise OutputError(
            f"{root}: cannot write the demo data: {error.strerror or error}; "
            "free some disk space or choose another folder"
        ) from error


def _write_images(root: Path, seed: int, counts: Counts) -> None:
    for label, numbers in counts.items():
        for (split, first_day), number in zip(_FIRST_DAYS.items(), numbers, strict=True):
            folder = root / split / label
            folder.mkdir(parents=True)
            for index in range(number):
                # A generator for each image, so that an image does not depend on the counts.
                rng = np.random.default_rng(list(f"{seed}/{split}/{label}/{index}".encode()))
                light = index % len(_LIGHTS)
                image, content = draw_image(label, light, rng), io.BytesIO()
                image.save(content, "JPEG", quality=int(rng.integers(55, 96)))
                path = folder / f"{first_day + light}_{label}_{index:03}.jpg"
                path.write_bytes(content.getvalue())
