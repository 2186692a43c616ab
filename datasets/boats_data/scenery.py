"""What lies behind the boats: light, sky, shore and the water that mirrors them.

Scenery is a `(240, 800, 3) float32` array, RGB, 0 to 255.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

from boats_data.brush import DARK, HEIGHT, SAND, WHITE, WIDTH, Colour, mix, pick, vary

Pixels = NDArray[np.float32]

SHORE = 200
"""Rows drawn above the horizon; the photo shows the lowest of them, the water mirrors them all."""

ROWS = np.arange(HEIGHT, dtype=np.float32)[:, None]
COLUMNS = np.arange(WIDTH, dtype=np.float32)[None]
_OCTAVES = ((1.0, (40, 30)), (0.7, (90, 70)), (0.4, (200, 200)))
"""Strength and fineness of the water's waves, from swell to ripples."""

_FACADES = (
    (196, 130, 92), (214, 170, 118), (188, 98, 78), (222, 202, 170), (176, 150, 132),
    (206, 146, 130),
)  # fmt: skip


@dataclass(frozen=True)
class Light:
    """A time of day: colours of sky and deep water, and the factors of RGB it lays on the rest."""

    sky_high: Colour
    sky_low: Colour
    deep: Colour
    tint: tuple[float, float, float]
    glitter: float
    lamps: float


LIGHTS = (
    Light((150, 168, 206), (246, 196, 166), (58, 78, 96), (1.02, 0.88, 0.82), 0.8, 0.1),  # dawn
    Light((92, 150, 214), (188, 216, 236), (24, 82, 92), (1.06, 1.04, 0.98), 1.0, 0.0),  # noon
    Light((74, 76, 122), (232, 146, 98), (34, 38, 62), (0.84, 0.7, 0.7), 0.8, 0.5),  # dusk
    Light((186, 194, 200), (214, 218, 220), (74, 96, 94), (0.9, 0.91, 0.92), 0.1, 0.05),  # grey
)


def draw_ripples(rng: np.random.Generator, horizon: int) -> Pixels:
    """Returns the water's slope `(240, 800) float32`, about -4 to 4, with 0 above the horizon."""
    size = (256, 512)
    texture = np.zeros((1, 1), dtype=np.float32)
    for strength, cells in _OCTAVES:
        texture = resize(texture, cells)
        texture += strength * rng.standard_normal(cells, dtype=np.float32)
    texture = resize(texture, size)
    near = np.maximum(ROWS - horizon, 0)
    # Waves come closer together towards the horizon, across more slowly than along the view.
    rows = 60 * np.log1p(near / 15)
    columns = np.abs((COLUMNS - WIDTH / 2) * 1.2 / (1 + near / 60) + size[1] / 2)
    columns = size[1] - 1 - np.abs(size[1] - 1 - columns)  # folded at both edges: no seam
    slope = texture[rows.astype(int), columns.astype(int)]
    gusts = 0.7 + 0.3 * noise(rng, (5, 4), (HEIGHT // 4, WIDTH // 4))
    slope *= gusts.repeat(4, axis=0).repeat(4, axis=1)
    return float32(slope * (near > 0) * rng.uniform(0.35, 1.0))


def draw_water(rng: np.random.Generator, light: Light, horizon: int, ripples: Pixels) -> Pixels:
    """Returns shore, sky and the water that mirrors them `(240, 800, 3) float32`."""
    shore = _draw_sky(rng, light)
    things = _draw_quay(rng, light) if rng.random() < 0.5 else _draw_skyline(rng, light)
    shore.paste(things, mask=things)
    scene = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    top = max(horizon, 0)
    scene[:top] = np.asarray(shore)[SHORE - top :]
    waves, near = ripples[top:], ROWS[top:] - horizon
    rows = (SHORE - 1 - near + waves * (1 + 0.12 * near)).clip(0, SHORE - 1)
    columns = (COLUMNS + waves * 0.03 * near).clip(0, WIDTH - 1)
    smeared = shore.filter(ImageFilter.BoxBlur((1, 4)))
    mirrored = np.asarray(smeared)[rows.astype(int), columns.astype(int)]
    deep = float32(vary(rng, light.deep)) * float32(rng.uniform(0.85, 1.3))
    clear = 0.1 + 0.6 * np.exp(-near / rng.uniform(60, 160)) + 0.15 * waves
    scene[top:] = deep + (mirrored - deep) * clear.clip(0.04, 0.95)[..., None]
    sun = np.exp(-(((COLUMNS - rng.uniform(0, WIDTH)) / rng.uniform(80, 300)) ** 2))
    sparks = (waves - rng.uniform(1.0, 1.8)).clip(0, 1) * float32(sun * light.glitter)
    scene[top:] += sparks[..., None] * float32(light.sky_low)
    return scene


def _draw_sky(rng: np.random.Generator, light: Light) -> Image.Image:
    size = (SHORE // 4, WIDTH // 4)
    height = np.linspace(1, 0, size[0], dtype=np.float32)[:, None, None]
    high, low = float32(light.sky_high), float32(light.sky_low)
    clouds = noise(rng, (8, 5), size) + 0.5 * noise(rng, (20, 14), size)
    cover = (clouds * 0.25 - rng.uniform(-0.2, 0.4)).clip(0, 0.6)[..., None]
    sky = low + (high - low) * height**0.7
    sky = sky + (246 - sky) * cover
    return Image.fromarray(sky.astype(np.uint8)).resize((WIDTH, SHORE))


def _draw_skyline(rng: np.random.Generator, light: Light) -> Image.Image:
    """Returns two layers of a far shore, RGBA, 800 wide and 200 high."""
    layer = Image.new("RGBA", (WIDTH, SHORE))
    draw = ImageDraw.Draw(layer)
    for distance in (0.7, rng.uniform(0.25, 0.5)):

        def haze(colour: Colour, share: float = distance) -> Colour:
            return mix(vary(rng, colour), light.sky_low, share)

        x = -30.0
        while x < WIDTH:
            wide, top = rng.uniform(14, 60), SHORE - rng.uniform(5, 22) * (1.3 - distance)
            middle, wall, roof = x + wide / 2, haze(pick(rng, _FACADES)), haze((150, 84, 62))
            kind = rng.random()
            if kind < 0.4:
                draw.ellipse((x, top, x + wide, 2 * SHORE - top), haze((66, 92, 62)))
            else:
                draw.rectangle((x, top, x + wide, SHORE), wall)
                draw.polygon(((x - 2, top), (middle, top - 4), (x + wide + 2, top)), roof)
            if kind > 0.93:  # a bell tower
                draw.rectangle((middle - 3, top - 26, middle + 3, SHORE), wall)
                spire = ((middle - 4, top - 26), (middle, top - 38), (middle + 4, top - 26))
                draw.polygon(spire, roof)
            x += wide * rng.uniform(0.5, 1.1)
        draw.rectangle((0, SHORE - 3, WIDTH, SHORE), haze((90, 86, 80)))
    return shine(layer, light)


def _draw_quay(rng: np.random.Generator, light: Light) -> Image.Image:
    """Returns a row of houses behind a stone quay, RGBA, 800 wide and 200 high."""
    layer = Image.new("RGBA", (WIDTH, SHORE))
    draw = ImageDraw.Draw(layer)
    quay = int(rng.integers(8, 26))
    base = SHORE - quay
    x = -int(rng.integers(0, 100))
    while x < WIDTH:
        wide = int(rng.integers(80, 190))
        _draw_house(rng, draw, (x, x + wide), base, light.lamps)
        x += wide + 1
    stone = vary(rng, (170, 164, 152))
    draw.rectangle((0, base, WIDTH, SHORE), stone)
    draw.rectangle((0, base, WIDTH, base + 2), mix(stone, WHITE, 0.5))
    for x in range(0, WIDTH, 37):
        draw.line((x, base + 3, x, SHORE), mix(stone, DARK, 0.3))
    draw.rectangle((0, SHORE - quay // 3, WIDTH, SHORE), (62, 66, 56))  # weed
    return shine(layer, light)


def _draw_house(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, sides: tuple[int, int], base: int,
    lamps: float,
) -> None:  # fmt: skip
    wall, shutter = pick(rng, _FACADES), pick(rng, ((52, 88, 66), (92, 60, 44), (70, 90, 110)))
    draw.rectangle((sides[0], base - int(rng.integers(90, 230)), sides[1], base), wall)
    draw.rectangle((sides[0], base - 7, sides[1], base), mix(wall, SAND, 0.5))
    pitch, size = int(rng.integers(26, 42)), int(rng.integers(9, 14))
    frame = mix(wall, WHITE, 0.45)
    for left in range(sides[0] + 12, sides[1] - size - 6, pitch):
        right = left + size
        for floor, low in enumerate(range(base - 8, 10, -int(size * 3.2))):
            pane = (255, 226, 150) if rng.random() < lamps else vary(rng, (62, 66, 72))
            high, foot = low - int(size * 1.7), low if floor or rng.random() < 0.6 else base
            draw.rectangle((left - 2, high - 2, right + 2, foot + 1), frame)
            draw.rectangle((left, high, right, foot), pane)
            if floor and rng.random() < 0.6:
                draw.rectangle((left - 5, high, left - 1, low), shutter)
                draw.rectangle((right + 1, high, right + 5, low), shutter)


def shine(layer: Image.Image, light: Light) -> Image.Image:
    """Lays the light of the day on an RGBA layer."""
    levels = np.outer((*light.tint, 1.0), np.arange(256)).clip(0, 255)
    return layer.point(levels.astype(int).ravel().tolist())


def float32(values: ArrayLike) -> Pixels:
    """Returns values as a scene has them."""
    return np.asarray(values, dtype=np.float32)


def noise(rng: np.random.Generator, cells: tuple[int, int], size: tuple[int, int]) -> Pixels:
    """Returns smooth noise `size float32` of mean 0 and variance about 1, of `cells` bumps."""
    return resize(rng.standard_normal(cells, dtype=np.float32), size)


def resize(values: Pixels, size: tuple[int, int]) -> Pixels:
    """Resizes `(H, W) float32` to the rows and columns given."""
    resized = Image.fromarray(values).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.array(resized, dtype=np.float32)
