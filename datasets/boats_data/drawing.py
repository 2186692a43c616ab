"""Draws the photos of the demo set: a boat on the water as seen across a canal.

A photo is built from back to front: shore and sky, the water that mirrors them, boats and mooring
poles with reflections of their own, at last what a camera adds. Scenery is a `(240, 800, 3)
float32` array, RGB, 0 to 255; boats are drawn at twice that size and shrunk, which smooths edges.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from boats_data.brush import (
    HEIGHT,
    HULLS,
    OVERSAMPLING,
    RED,
    WHITE,
    WIDTH,
    WOODS,
    Brush,
    Point,
    curve,
    pick,
    vary,
)
from boats_data.hulls import BOATS, LABELS
from boats_data.scenery import (
    COLUMNS,
    LIGHTS,
    ROWS,
    Light,
    Pixels,
    draw_ripples,
    draw_water,
    float32,
    shine,
)
from boats_runtime.errors import UsageError


def draw_photo(label: str, rng: np.random.Generator) -> Image.Image:
    """Draws one photo of a class.

    Args:
        label: One of `LABELS`.
        rng: Decides everything else about the photo.

    Returns:
        RGB, 800 wide and 240 high.

    Raises:
        UsageError: There is no such class.
    """
    if label not in LABELS:
        raise UsageError(f"{label!r}: no class of the demo set; choose of {', '.join(LABELS)}")
    light = LIGHTS[rng.integers(len(LIGHTS))]
    horizon = int(rng.integers(18, 76) if rng.random() < 0.7 else rng.integers(-70, -5))
    ripples = draw_ripples(rng, horizon)
    scene = draw_water(rng, light, horizon, ripples)
    if rng.random() < 0.3:
        _float(scene, *_draw_poles(rng, max(horizon, 0) + rng.uniform(15, 50)), light, ripples)
    if label in BOATS:
        _draw_boat(rng, scene, label, light, ripples)
    if rng.random() < 0.12:
        _float(scene, *_draw_poles(rng, HEIGHT * rng.uniform(0.9, 1.1)), light, ripples)
    if rng.random() < 0.25:
        _draw_gull(rng, scene, light)
    return _expose(rng, scene)


def _draw_boat(
    rng: np.random.Generator, scene: Pixels, label: str, light: Light, ripples: Pixels
) -> None:
    smallest, largest, paint = BOATS[label]
    length = WIDTH * rng.uniform(smallest, largest)
    x = WIDTH / 2 + rng.uniform(-0.52, 0.52) * (WIDTH - length)
    y = HEIGHT * (rng.uniform(0.62, 0.78) + 0.1 * length / WIDTH)
    mirrored = bool(rng.random() < 0.5)
    fast = label in ("ferry", "motorboat") and rng.random() < 0.6
    trim = rng.normal(0, 0.012) + (rng.uniform(0, 0.05) if fast and label == "motorboat" else 0)
    brush = Brush((x, y), length, rng.uniform(0.95, 1.25), mirrored, trim)
    paint(brush, rng)
    _float(scene, brush.layer, y, light, ripples)
    if label != "gondola" and (fast or rng.random() < 0.4):
        way = -1 if mirrored else 1
        _draw_wake(rng, scene, (x, y), way * length, 1.0 if fast else 0.35)


def _draw_poles(rng: np.random.Generator, y: float) -> tuple[Image.Image, float]:
    """Returns the layer of one to three mooring poles and the row of their waterline."""
    brush = Brush((WIDTH / 2, y), WIDTH, 1, False, 0)
    x, wide = rng.uniform(-0.5, 0.5), 0.004 + 0.01 * (y / HEIGHT) ** 2
    wood, stripe = pick(rng, WOODS), pick(rng, (RED, HULLS[2], WHITE))
    striped = rng.random() < 0.4
    for _ in range(rng.integers(1, 4)):
        top, slant = wide * rng.uniform(9, 16), rng.normal(0, 0.004)
        brush.line([(x, -0.05), (x + slant, top)], wide, WHITE if striped else wood)
        brush.line([(x, -0.05), (x + slant * 0.1, wide * 1.3)], wide, (48, 50, 40))
        if striped:
            for low in np.arange(wide * 2, top - wide, wide * 2):
                brush.line([(x + slant * low / top, low), (x, low + wide)], wide, stripe)
        x += wide * rng.uniform(0.8, 6)
    return brush.layer, y


def _draw_gull(rng: np.random.Generator, scene: Pixels, light: Light) -> None:
    size = rng.uniform(0.012, 0.03)
    at = (rng.uniform(0.05, 0.95) * WIDTH, rng.uniform(0.05, 0.5) * HEIGHT)
    brush = Brush(at, WIDTH, 1, bool(rng.random() < 0.5), rng.normal(0, 0.15))
    up = rng.uniform(-0.2, 0.7) * size
    wings = curve((-size, up * 0.5), (-size * 0.5, up), (0, 0), (size * 0.5, up), (size, up * 0.5))
    brush.line(wings, size * 0.13, vary(rng, (226, 228, 230)))
    brush.disc((0, 0), size * 0.22, WHITE, 0.5)
    pixels, (left, top, right, _) = _shrink(brush.layer, light)
    _blend(scene[top:, left:right], pixels)


def _draw_wake(
    rng: np.random.Generator, scene: Pixels, at: Point, way: float, strength: float
) -> None:
    """Lays foam at the bow, along the hull and behind the stern; `way` is the signed length."""
    mask = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(mask)
    size = abs(way)
    for _ in range(int(150 * strength) + 20):
        back = rng.uniform(-0.44, 1.0)
        spread = 0.012 + 0.02 * max(back, 0)
        x = at[0] - way * back
        y = at[1] + size * (rng.normal(0, spread) * 0.4 + spread * 0.6)
        wide = rng.uniform(3, 14) * (0.6 + size / WIDTH)
        tall = wide * rng.uniform(0.12, 0.3)
        fade = 1 - max(back, 0) * 0.7
        draw.ellipse((x - wide, y - tall, x + wide, y + tall), int(rng.uniform(90, 220) * fade))
    foam = np.asarray(mask.filter(ImageFilter.GaussianBlur(1)), dtype=np.float32) / 255
    scene += (np.float32(232) - scene) * (foam * min(0.75, strength))[..., None]


def _float(
    scene: Pixels, layer: Image.Image, waterline: float, light: Light, ripples: Pixels
) -> None:
    """Lays a drawn layer on the scene: what is above the waterline, and its reflection below."""
    pixels, (left, high, right, _) = _shrink(layer, light)
    around = slice(left, right)
    waves = ripples[:, around]
    # A hull is darkest where it leaves the water, and the light on it is never quite even.
    up = waterline - ROWS[high:]
    pixels[..., :3] *= (1.03 - 0.3 * np.exp(-np.maximum(up, 0) / 14))[..., None]
    shown = pixels
    shown[..., 3] *= (up + 0.7 * waves[high:] + 0.5).clip(0, 1)
    first = max(high, int(waterline) - 2)
    depth, waves = ROWS[first:] - waterline, waves[first:]
    rows = (waterline - depth + waves * (1 + 0.14 * depth) - high).clip(0, len(shown) - 1)
    columns = COLUMNS[:, around] - left + waves * (0.6 + 0.04 * depth)
    mirrored = shown[rows.astype(int), columns.clip(0, right - left - 1).astype(int)]
    mirrored *= float32((0.72, 0.72, 0.72, 0.62))
    mirrored[..., 3] *= np.exp(-np.maximum(depth, 0) / 110)
    _blend(scene[first:, around], mirrored)
    _blend(scene[high:, around], shown)


def _shrink(layer: Image.Image, light: Light) -> tuple[Pixels, tuple[int, int, int, int]]:
    """Returns the drawn part of a layer at the photo's size, in the day's light, and its place.

    The pixels are `(H, W, 4) float32`: from the first row drawn to the photo's last, and from
    eight columns left of what is drawn to eight right of it.
    """
    left, top, right, _ = (side // OVERSAMPLING for side in layer.getbbox() or (0, 0, 0, 0))
    box = (max(left - 8, 0), min(top, HEIGHT - 1), min(right + 8, WIDTH), HEIGHT)
    corners = [float(side * OVERSAMPLING) for side in box]
    small = layer.crop((corners[0], corners[1], corners[2], corners[3])).reduce(OVERSAMPLING)
    return np.array(shine(small, light), dtype=np.float32), box


def _blend(scene: Pixels, layer: Pixels) -> None:
    """Lays pixels `(H, W, 4) float32`, 0 to 255 and straight alpha, on a scene of their size."""
    scene += (layer[..., :3] - scene) * (layer[..., 3:] / 255)


def _expose(rng: np.random.Generator, scene: Pixels) -> Image.Image:
    """Adds what a camera does: exposure, white balance, lack of focus, noise of the sensor."""
    balance = float32(rng.uniform(0.85, 1.12) * rng.normal(1, 0.02, 3))
    exposed = Image.fromarray((scene * balance).clip(0, 255).astype(np.uint8))
    blurred = exposed.filter(ImageFilter.BoxBlur(rng.uniform(0.0, 0.7)))
    grain = rng.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32) * rng.uniform(1, 6)
    noisy = np.asarray(blurred) + grain.astype(np.int16)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
