"""Draws the photos of the demo set: a boat on the water as seen across a canal.

A photo is built from back to front: shore and sky, the water that mirrors them, boats and mooring
poles with reflections of their own, at last what a camera adds. Scenery is a `(240, 800, 3)
float32` array, RGB, 0 to 255; boats are drawn at twice that size and shrunk, which smooths edges.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

from boats_runtime.errors import UsageError

WIDTH = 800
HEIGHT = 240

Colour = tuple[int, int, int]
Point = tuple[float, float]
Pixels = NDArray[np.float32]

_OVERSAMPLING = 2
_SHORE = 200
"""Rows drawn above the horizon; the photo shows the lowest of them, the water mirrors them all."""

_ROWS = np.arange(HEIGHT, dtype=np.float32)[:, None]
_COLUMNS = np.arange(WIDTH, dtype=np.float32)[None]
_OCTAVES = ((1.0, (40, 30)), (0.7, (90, 70)), (0.4, (200, 200)))
"""Strength and fineness of the water's waves, from swell to ripples."""

_WHITE, _DARK, _STEEL, _GLASS = (238, 238, 232), (26, 26, 30), (176, 182, 188), (58, 78, 96)
_SAND, _ORANGE, _RED = (206, 196, 178), (226, 96, 40), (164, 40, 36)
_HULLS = (
    (238, 238, 232), (226, 216, 190), (28, 48, 88), (150, 32, 30), (34, 92, 74), (52, 120, 168),
    (214, 158, 44), (70, 74, 80),
)  # fmt: skip
_WOODS = ((122, 68, 34), (150, 96, 52), (96, 58, 38), (176, 128, 76))
_SAILS = ((246, 244, 236), (238, 230, 208), (170, 72, 52), (226, 232, 238))
_FACADES = (
    (196, 130, 92), (214, 170, 118), (188, 98, 78), (222, 202, 170), (176, 150, 132),
    (206, 146, 130),
)  # fmt: skip
_SHIRTS = (
    (196, 60, 52), (60, 92, 150), (232, 226, 214), (70, 122, 84), (216, 170, 60), (60, 60, 66),
)  # fmt: skip
_SKINS = ((226, 178, 146), (190, 138, 104), (120, 82, 60))


@dataclass(frozen=True)
class _Light:
    """A time of day: colours of sky and deep water, and the factors of RGB it lays on the rest."""

    sky_high: Colour
    sky_low: Colour
    deep: Colour
    tint: tuple[float, float, float]
    glitter: float
    lamps: float


_LIGHTS = (
    _Light((150, 168, 206), (246, 196, 166), (58, 78, 96), (1.02, 0.88, 0.82), 0.8, 0.1),  # dawn
    _Light((92, 150, 214), (188, 216, 236), (24, 82, 92), (1.06, 1.04, 0.98), 1.0, 0.0),  # noon
    _Light((74, 76, 122), (232, 146, 98), (34, 38, 62), (0.84, 0.7, 0.7), 0.8, 0.5),  # dusk
    _Light((186, 194, 200), (214, 218, 220), (74, 96, 94), (0.9, 0.91, 0.92), 0.1, 0.05),  # grey
)


class _Brush:
    """Draws in a boat's own units: x from -0.5 (stern) to 0.5 (bow), y up from the water."""

    def __init__(self, at: Point, length: float, rise: float, mirrored: bool, trim: float) -> None:
        self.layer = Image.new("RGBA", (WIDTH * _OVERSAMPLING, HEIGHT * _OVERSAMPLING))
        self._draw = ImageDraw.Draw(self.layer)
        self._at = np.asarray(at) * _OVERSAMPLING
        self._unit = length * _OVERSAMPLING
        cos, sin = float(np.cos(trim)), float(np.sin(trim))
        way = -1 if mirrored else 1
        turn = np.array([[way * cos, -way * sin * rise], [-sin, -cos * rise]])
        self._turn = turn * self._unit

    def polygon(self, points: Sequence[Point], fill: Colour, alpha: int = 255) -> None:
        self._draw.polygon(self._place(points), (*fill, alpha))

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        pixels = max(2, round(width * self._unit))
        self._draw.line(self._place(points), (*fill, 255), pixels, joint="curve")

    def box(self, left: float, low: float, right: float, high: float, fill: Colour) -> None:
        self.polygon([(left, low), (right, low), (right, high), (left, high)], fill)

    def disc(self, at: Point, radius: float, fill: Colour, squash: float = 1.0) -> None:
        turns = np.linspace(0, 2 * np.pi, 20)
        ring = np.stack([np.cos(turns), np.sin(turns) * squash], axis=1) * radius + at
        self.polygon([(x, y) for x, y in ring.tolist()], fill)

    def _place(self, points: Sequence[Point]) -> list[Point]:
        placed = np.asarray(points) @ self._turn.T + self._at
        return [(x, y) for x, y in placed.tolist()]


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
    light = _LIGHTS[rng.integers(len(_LIGHTS))]
    horizon = int(rng.integers(18, 76) if rng.random() < 0.7 else rng.integers(-70, -5))
    ripples = _draw_ripples(rng, horizon)
    scene = _draw_water(rng, light, horizon, ripples)
    if rng.random() < 0.3:
        _float(scene, *_draw_poles(rng, max(horizon, 0) + rng.uniform(15, 50)), light, ripples)
    if label in _BOATS:
        _draw_boat(rng, scene, label, light, ripples)
    if rng.random() < 0.12:
        _float(scene, *_draw_poles(rng, HEIGHT * rng.uniform(0.9, 1.1)), light, ripples)
    if rng.random() < 0.25:
        _draw_gull(rng, scene, light)
    return _expose(rng, scene)


def _draw_boat(
    rng: np.random.Generator, scene: Pixels, label: str, light: _Light, ripples: Pixels
) -> None:
    smallest, largest, paint = _BOATS[label]
    length = WIDTH * rng.uniform(smallest, largest)
    x = WIDTH / 2 + rng.uniform(-0.52, 0.52) * (WIDTH - length)
    y = HEIGHT * (rng.uniform(0.62, 0.78) + 0.1 * length / WIDTH)
    mirrored = bool(rng.random() < 0.5)
    fast = label in ("ferry", "motorboat") and rng.random() < 0.6
    trim = rng.normal(0, 0.012) + (rng.uniform(0, 0.05) if fast and label == "motorboat" else 0)
    brush = _Brush((x, y), length, rng.uniform(0.95, 1.25), mirrored, trim)
    paint(brush, rng)
    _float(scene, brush.layer, y, light, ripples)
    if label != "gondola" and (fast or rng.random() < 0.4):
        way = -1 if mirrored else 1
        _draw_wake(rng, scene, (x, y), way * length, 1.0 if fast else 0.35)


def _paint_ferry(brush: _Brush, rng: np.random.Generator) -> None:
    hull, trim, cabin = _pick(rng, _HULLS), _pick(rng, _HULLS), _pick(rng, (_WHITE, _SAND))
    stern, bow = rng.uniform(-0.44, -0.36), rng.uniform(0.24, 0.38)
    roof = rng.uniform(0.125, 0.15)
    brush.polygon(
        [*_curve((-0.5, 0.07), (-0.2, 0.055), (0.2, 0.058), (0.5, 0.09)), (0.46, -0.07),
         (-0.49, -0.07)], hull,
    )  # fmt: skip
    brush.polygon([(-0.49, 0.012), (0.475, 0.012), (0.46, -0.07), (-0.49, -0.07)], trim)
    brush.line(_curve((-0.5, 0.058), (-0.2, 0.045), (0.2, 0.047), (0.49, 0.076)), 0.006, _DARK)
    for x in np.arange(-0.42, 0.4, rng.uniform(0.09, 0.2)):
        brush.disc((x, 0.03), 0.013, _DARK)
    _paint_people(brush, rng, (bow + 0.02, 0.46), 0.06, 0.075, 4)
    _paint_people(brush, rng, (-0.48, stern), 0.06, 0.075, 3)
    brush.box(stern, 0.05, bow, roof, cabin)
    brush.box(stern, 0.05, bow, 0.066, _mix(cabin, _DARK, 0.25))
    panes = rng.integers(7, 14)
    pitch = (bow - stern - 0.03) / panes
    door = rng.integers(2, panes - 2)
    glass = _pick(rng, (_GLASS, (36, 46, 56), (126, 152, 170)))
    for pane in range(panes):
        left = stern + 0.02 + pane * pitch
        low = 0.052 if pane == door else 0.08
        brush.box(left, low, left + pitch * 0.78, roof - 0.014, glass)
        shine = _mix(glass, _WHITE, rng.uniform(0.1, 0.6))
        brush.polygon(
            [(left, low), (left + pitch * 0.3, low), (left + pitch * 0.6, roof - 0.014),
             (left + pitch * 0.3, roof - 0.014)], shine, 140,
        )  # fmt: skip
    brush.box(stern - 0.02, roof, bow + 0.03, roof + 0.012, _mix(trim, _WHITE, rng.uniform(0, 0.8)))
    bridge = rng.uniform(stern + 0.1, bow - 0.1) if rng.random() < 0.3 else bow - 0.06
    if rng.random() < 0.85:
        top = roof + rng.uniform(0.045, 0.06)
        brush.polygon(
            [(bridge - 0.05, roof + 0.01), (bridge + 0.06, roof + 0.01), (bridge + 0.05, top),
             (bridge - 0.05, top)], cabin,
        )  # fmt: skip
        brush.box(bridge - 0.015, roof + 0.022, bridge + 0.048, top - 0.008, glass)
        brush.box(bridge - 0.06, top, bridge + 0.06, top + 0.007, trim)
        brush.line([(bridge, top), (bridge - 0.005, top + 0.06)], 0.003, _DARK)
    if rng.random() < 0.4:  # an upper deck
        _paint_people(brush, rng, (stern + 0.03, bridge - 0.08), roof + 0.01, 0.06, 8)
        _paint_railing(brush, stern - 0.01, bridge - 0.06, roof + 0.012, 0.03)
    if rng.random() < 0.5:
        brush.disc((rng.uniform(stern, bow), 0.075), 0.011, _ORANGE)
    _paint_railing(brush, bow + 0.02, 0.48, 0.065, 0.045)
    _paint_railing(brush, -0.49, stern, 0.065, 0.045)
    if rng.random() < 0.6:
        _paint_flag(brush, rng, (-0.49, 0.07), 0.09)


def _paint_motorboat(brush: _Brush, rng: np.random.Generator) -> None:
    wooden = rng.random() < 0.35
    hull = _pick(rng, _WOODS if wooden else _HULLS)
    inside, band = _pick(rng, (_SAND, _WHITE, (96, 66, 48))), _pick(rng, _HULLS)
    nose = rng.uniform(0.12, 0.18)
    sheer = ((-0.5, 0.09), (-0.2, 0.095), (0.15, nose * 0.85), (0.5, nose))
    well = [(-0.48, 0.08), (-0.46, 0.115), (0.05, 0.135), (0.2, 0.1)]
    brush.polygon(well, _mix(inside, _DARK, 0.4))
    if rng.random() < 0.55:  # an outboard engine
        brush.polygon(
            [(-0.56, 0.09), (-0.5, 0.08), (-0.49, 0.145), (-0.52, 0.165), (-0.555, 0.155)],
            _pick(rng, (_DARK, _STEEL, (60, 66, 74))),
        )
        brush.box(-0.55, -0.04, -0.52, 0.1, _DARK)
    shield = rng.uniform(-0.08, 0.1)
    style = rng.random()
    if style >= 0.35:
        tall = rng.uniform(0.13, 0.18)
        _paint_people(brush, rng, (shield - 0.28, shield - 0.06), 0.09, tall, 3, 1)
    brush.polygon(
        [(shield - 0.04, 0.1), *_curve((shield, nose), (0.25, nose * 1.12), (0.48, nose)),
         (0.2, 0.09)], _mix(hull, _SAND, 0.55),
    )  # fmt: skip
    brush.polygon([*_curve(*sheer), (0.36, -0.07), (-0.48, -0.07)], hull)
    bottom = [(-0.5, 0.035), (0.43, 0.05), (0.36, -0.07), (-0.48, -0.07)]
    brush.polygon(bottom, _mix(hull, _DARK, 0.22))
    level = rng.uniform(0.04, 0.07)
    stripe = [(-0.5, level), (0.1, level + 0.01), (0.45, nose * 0.72)]
    brush.line(_curve(*stripe), rng.uniform(0.006, 0.016), band)
    brush.line(_curve(*sheer), 0.008, _STEEL if wooden else _mix(hull, _WHITE, 0.5))
    top = nose + rng.uniform(0.07, 0.1)
    pane = [(shield + 0.07, nose * 0.95), (shield, top), (shield - 0.05, top), (shield - 0.03, 0.1)]
    if style < 0.35:  # a cabin behind the windscreen
        back = shield - rng.uniform(0.2, 0.34)
        brush.polygon(
            [(back, 0.092), (back + 0.01, top), (shield, top), (shield + 0.08, nose * 0.9)],
            _mix(hull, _SAND, 0.7),
        )
        for left in np.linspace(back + 0.025, shield - 0.08, rng.integers(2, 4)):
            brush.box(left, 0.12, left + 0.065, top - 0.018, _GLASS)
        brush.box(back - 0.015, top - 0.004, shield + 0.01, top + 0.009, _mix(hull, _WHITE, 0.3))
        pane[2:] = [(shield - 0.01, top - 0.01), (shield + 0.02, nose)]
    elif style < 0.55:  # a sun roof
        high = top + 0.09
        brush.line([(shield - 0.02, 0.13), (shield - 0.05, high)], 0.006, _STEEL)
        brush.line([(shield - 0.27, 0.1), (shield - 0.25, high)], 0.006, _STEEL)
        brush.polygon(
            _curve((shield - 0.3, high), (shield - 0.16, high + 0.03), (shield, high)), band
        )
    brush.polygon(pane, (150, 184, 200), 170)
    brush.line(pane[:3], 0.006, _STEEL)
    if rng.random() < 0.35:
        _paint_railing(brush, 0.22, 0.47, nose, 0.04)


def _paint_sailboat(brush: _Brush, rng: np.random.Generator) -> None:
    hull, band = _pick(rng, (*_HULLS, _WHITE, _WHITE)), _pick(rng, _HULLS)
    mast, height = rng.uniform(0.02, 0.14), rng.uniform(0.5, 0.8)
    sail, jib = _pick(rng, _SAILS), _pick(rng, _SAILS)
    boom, end = 0.17, rng.uniform(-0.44, -0.34)
    furled = rng.random() < 0.2
    for foot in ((0.49, 0.12), (-0.49, 0.1)):  # stays
        brush.line([foot, (mast, height)], 0.002, (110, 110, 112))
    if not furled and rng.random() < 0.8:
        tack = (rng.uniform(0.4, 0.48), 0.14)
        clew = (mast - rng.uniform(-0.06, 0.14), 0.17)
        head = (mast + 0.01, height * rng.uniform(0.7, 0.92))
        leech = _curve(head, ((head[0] + clew[0]) / 2 + 0.045, 0.45 * height), clew)
        brush.polygon([tack, *leech], jib)
        brush.polygon([clew, leech[4], ((tack[0] + head[0]) / 2, (0.14 + head[1]) / 2)],
                      _mix(jib, _DARK, 0.12), 120)  # fmt: skip
    _paint_people(brush, rng, (-0.42, -0.22), 0.085, 0.17, 3)
    brush.polygon(
        [(-0.2, 0.08), (-0.17, 0.125), (0.16, 0.135), (0.26, 0.09)], _mix(hull, _SAND, 0.7)
    )
    for x in np.linspace(-0.12, 0.12, rng.integers(2, 5)):
        brush.disc((x, 0.112), 0.016, _GLASS, 0.6)
    sheer = ((-0.5, 0.1), (-0.1, 0.075), (0.25, 0.09), (0.5, 0.13))
    brush.polygon([*_curve(*sheer), *_curve((0.46, 0.06), (0.38, -0.08)), (-0.44, -0.08)], hull)
    brush.polygon([(-0.47, 0.014), (0.43, 0.02), (0.38, -0.08), (-0.44, -0.08)], band)
    brush.line(_curve(*sheer), 0.008, _mix(band, _WHITE, 0.3))
    if furled:
        brush.polygon(_curve((mast, 0.19), (-0.15, 0.205), (end, 0.18), (mast, 0.165)), band)
    else:
        peak = (mast - 0.008, height * 0.97)
        leech = _curve(peak, ((mast + end) / 2 - 0.05, 0.5 * height), (end, boom + 0.01))
        brush.polygon([(mast, boom), *leech], sail)
        fold = [(mast, boom), peak, (mast - 0.09, height * 0.45), (mast - 0.06, boom)]
        brush.polygon(fold, _mix(sail, (90, 96, 120), 0.2))
        for share in (0.3, 0.5, 0.7):  # battens
            point = leech[round(share * (len(leech) - 1))]
            brush.line([point, (mast, point[1] + 0.03)], 0.002, _mix(sail, _DARK, 0.3))
    brush.line([(mast, boom), (end, boom)], 0.009, _STEEL)
    brush.line([(mast, 0.1), (mast, height)], 0.01, _STEEL)
    if rng.random() < 0.5:
        _paint_railing(brush, 0.3, 0.49, 0.11, 0.05)
    if rng.random() < 0.4:
        _paint_flag(brush, rng, (-0.48, 0.1), 0.11)


def _paint_gondola(brush: _Brush, rng: np.random.Generator) -> None:
    hull = _mix(_vary(rng, _DARK), _DARK, 0.6)
    tail, nose = rng.uniform(0.13, 0.2), rng.uniform(0.14, 0.19)
    sheer = _curve(
        (-0.5, tail), (-0.4, 0.085), (-0.2, 0.05), (0.1, 0.045), (0.3, 0.07), (0.42, 0.115),
        (0.47, nose),
    )  # fmt: skip
    keel = _curve(
        (0.465, nose - 0.035), (0.4, 0.06), (0.3, 0.012), (0.15, -0.03), (-0.15, -0.03),
        (-0.3, 0.008), (-0.4, 0.045), (-0.49, tail - 0.02),
    )  # fmt: skip
    seats = _pick(rng, ((150, 30, 36), (40, 60, 120), (170, 130, 50)))
    _paint_people(brush, rng, (-0.16, 0.1), 0.045, rng.uniform(0.075, 0.09), 5)
    brush.polygon(_curve((-0.2, 0.04), (-0.18, 0.1), (-0.13, 0.085), (0.12, 0.04)), seats)
    brush.polygon([*sheer, *keel], hull)
    brush.line(sheer, 0.004, _mix(hull, _WHITE, 0.35))
    brush.line(keel, 0.003, _mix(hull, _STEEL, 0.3))
    if rng.random() < 0.7:
        brush.disc((0.2, 0.065), 0.012, (206, 168, 70), 1.5)
    iron = _mix(_STEEL, _WHITE, rng.uniform(0, 0.5))  # the bow's iron comb
    brush.polygon(
        [(0.462, nose - 0.05), (0.475, nose - 0.05), (0.49, nose + 0.02), (0.515, nose + 0.045),
         (0.5, nose + 0.06), (0.47, nose + 0.04)], iron,
    )  # fmt: skip
    for tooth in range(5):
        y = nose - 0.04 + tooth * 0.013
        brush.line([(0.47, y), (0.495, y + 0.002)], 0.005, iron)
    at, lean = rng.uniform(-0.36, -0.3), rng.uniform(-0.01, 0.04)
    _paint_oarsman(brush, rng, at, lean)


def _paint_oarsman(brush: _Brush, rng: np.random.Generator, x: float, lean: float) -> None:
    skin, stripe = _pick(rng, _SKINS), _pick(rng, ((176, 36, 40), (34, 52, 110)))
    legs = _vary(rng, _DARK)
    brush.line([(x - 0.012, 0.07), (x, 0.135)], 0.012, legs)
    brush.line([(x + 0.02, 0.065), (x + 0.004, 0.135)], 0.012, legs)
    chest = (x + lean, 0.19)
    brush.polygon(
        [(x - 0.013, 0.13), (x + 0.014, 0.13), (chest[0] + 0.017, 0.192),
         (chest[0] - 0.014, 0.192)], _WHITE,
    )  # fmt: skip
    for y in np.arange(0.136, 0.19, 0.013):
        middle = x + lean * (y - 0.13) / 0.06
        brush.line([(middle - 0.013, y), (middle + 0.014, y)], 0.005, stripe)
    hands = (chest[0] + rng.uniform(0.025, 0.05), rng.uniform(0.15, 0.18))
    fork = (x + 0.075, 0.105)
    blade = (fork[0] + rng.uniform(-0.28, 0.12), -0.02)
    brush.line([fork, (x + 0.07, 0.06)], 0.009, (96, 62, 40))
    brush.line([hands, fork, blade], 0.006, _pick(rng, _WOODS))
    brush.line([chest, hands], 0.009, skin)
    head = (chest[0] + 0.004, 0.208)
    brush.disc(head, 0.0115, skin)
    if rng.random() < 0.65:  # a straw hat
        brush.disc((head[0], 0.214), 0.021, (222, 196, 130), 0.22)
        brush.box(head[0] - 0.011, 0.214, head[0] + 0.011, 0.225, (222, 196, 130))
        brush.line([(head[0] - 0.011, 0.216), (head[0] + 0.011, 0.216)], 0.004, stripe)
    else:
        brush.disc((head[0] - 0.002, 0.214), 0.01, (50, 36, 28), 0.7)


def _paint_rowboat(brush: _Brush, rng: np.random.Generator) -> None:
    wooden = rng.random() < 0.5
    hull = _pick(rng, _WOODS if wooden else _HULLS)
    tail, nose, low = rng.uniform(0.1, 0.14), rng.uniform(0.13, 0.19), rng.uniform(0.065, 0.085)
    near = _curve((-0.48, tail), (-0.25, low + 0.01), (0.1, low), (0.32, low + 0.03), (0.5, nose))
    far = _curve((0.5, nose), (0.25, low + 0.055), (-0.2, low + 0.04), (-0.46, tail + 0.025))
    seat, lean = rng.uniform(-0.02, 0.08), rng.uniform(-0.07, 0.05)
    hands = (seat - 0.1 + lean, low + rng.uniform(0.09, 0.12))
    # The blades swing together: in the water, or high over it on their way back.
    reach, lift = seat + rng.uniform(-0.42, 0.42), rng.choice((0.0, rng.uniform(0.04, 0.12)))
    oar = _pick(rng, (*_WOODS, _WHITE))
    crewed = rng.random() < 0.85
    if crewed:
        far_tip = (reach * 1.15 + 0.03, low + 0.04 + lift)
        _paint_oar(brush, [hands, (seat, low + 0.055), far_tip], _mix(oar, _DARK, 0.2))
    brush.polygon([*near, *far], _mix(hull, _DARK, 0.45))
    brush.line(far, 0.01, _mix(hull, _WHITE, 0.2))
    for x in (-0.28, seat, 0.28):
        brush.box(x - 0.03, low + 0.005, x + 0.03, low + 0.03, _mix(hull, _SAND, 0.6))
    if rng.random() < 0.4:
        _paint_people(brush, rng, (-0.34, -0.26), low, 0.22, 1, 1)
    if crewed:
        _paint_rower(brush, rng, (seat, low), lean, hands)
    keel = _curve((0.47, 0.06), (0.38, -0.01), (0.25, -0.08), (-0.35, -0.08), (-0.44, -0.01))
    brush.polygon([*near, *keel], hull)
    for share in (0.35, 0.7):
        plank = [(x * (1 - 0.1 * share), y * (1 - share)) for x, y in near]
        brush.line(plank, 0.004, _mix(hull, _DARK, 0.25))
    brush.line(near, 0.014, _mix(hull, _WHITE, 0.3) if wooden else _pick(rng, _HULLS))
    if crewed:
        _paint_oar(brush, [hands, (seat, low + 0.012), (reach, lift - 0.02)], oar)
    else:  # moored, the oars laid in
        brush.line([(-0.3, low + 0.03), (0.32, low + 0.06)], 0.012, oar)
        brush.line([(-0.22, low + 0.045), (0.36, low + 0.05)], 0.012, oar)


def _paint_oar(brush: _Brush, path: Sequence[Point], wood: Colour) -> None:
    """Draws an oar from the hands over the gunwale to the tip of its blade."""
    (x, y), (tip_x, tip_y) = path[-2:]
    brush.line(path, 0.012, wood)
    brush.line([(tip_x + (x - tip_x) * 0.35, tip_y + (y - tip_y) * 0.35), path[-1]], 0.026, wood)


def _paint_rower(
    brush: _Brush, rng: np.random.Generator, seat: Point, lean: float, hands: Point
) -> None:
    (x, y), shirt, skin = seat, _pick(rng, _SHIRTS), _pick(rng, _SKINS)
    neck = (x + lean, y + 0.165)
    brush.line([(x, y + 0.03), (x - 0.1, y + 0.06), (x - 0.14, y)], 0.035, (60, 66, 90))
    brush.polygon(
        [(x - 0.04, y + 0.01), (x + 0.04, y + 0.01), (neck[0] + 0.035, neck[1]),
         (neck[0] - 0.03, neck[1])], shirt,
    )  # fmt: skip
    brush.line([(neck[0], neck[1] - 0.025), (neck[0] - 0.045, y + 0.1), hands], 0.022, skin)
    brush.line([(neck[0], neck[1] - 0.02), (neck[0] - 0.03, y + 0.115)], 0.026, shirt)
    brush.disc((neck[0] - 0.004, neck[1] + 0.035), 0.032, skin)
    hair = _pick(rng, ((50, 36, 28), (160, 120, 70), (214, 200, 170), (180, 50, 44)))
    brush.disc((neck[0] + 0.006, neck[1] + 0.05), 0.029, hair, 0.75)


def _paint_people(
    brush: _Brush, rng: np.random.Generator, span: Point, low: float, height: float,
    most: int, least: int = 0,
) -> None:  # fmt: skip
    for _ in range(rng.integers(least, most + 1)):
        x, tall = rng.uniform(*span), height * rng.uniform(0.85, 1.05)
        wide, shoulder = tall * 0.15, low + tall * 0.68
        shirt = _pick(rng, _SHIRTS)
        brush.polygon(
            [(x - wide, low), (x + wide, low), (x + wide * 1.1, shoulder - wide * 0.4),
             (x + wide * 0.6, shoulder), (x - wide * 0.6, shoulder),
             (x - wide * 1.1, shoulder - wide * 0.4)], shirt,
        )  # fmt: skip
        brush.disc((x, low + tall * 0.83), tall * 0.14, _pick(rng, _SKINS))
        brush.disc((x - 0.02 * tall, low + tall * 0.9), tall * 0.125, _vary(rng, (60, 44, 34)), 0.7)


def _paint_railing(brush: _Brush, left: float, right: float, low: float, height: float) -> None:
    for x in np.linspace(left, right, max(2, round((right - left) / 0.035))):
        brush.line([(x, low), (x, low + height)], 0.0025, _STEEL)
    for level in (height * 0.5, height):
        brush.line([(left, low + level), (right, low + level)], 0.003, _STEEL)


def _paint_flag(brush: _Brush, rng: np.random.Generator, at: Point, height: float) -> None:
    x, top = at[0] - 0.02, at[1] + height
    brush.line([at, (x, top)], 0.004, _STEEL)
    drop = rng.uniform(0.0, 0.04)
    brush.polygon(
        [(x, top), (x - 0.06, top - drop), (x - 0.06, top - drop - 0.03), (x, top - 0.035)],
        _pick(rng, (_RED, (40, 90, 60), _HULLS[2])),
    )


_BOATS: dict[str, tuple[float, float, Callable[[_Brush, np.random.Generator], None]]] = {
    "ferry": (0.55, 0.9, _paint_ferry),
    "motorboat": (0.34, 0.78, _paint_motorboat),
    "sailboat": (0.3, 0.58, _paint_sailboat),
    "gondola": (0.5, 0.9, _paint_gondola),
    "rowboat": (0.3, 0.62, _paint_rowboat),
}
"""For each class the smallest and largest share of the width that it fills, and how it is drawn."""

LABELS = ("water", *_BOATS)
"""The classes that can be drawn."""


def _draw_poles(rng: np.random.Generator, y: float) -> tuple[Image.Image, float]:
    """Returns the layer of one to three mooring poles and the row of their waterline."""
    brush = _Brush((WIDTH / 2, y), WIDTH, 1, False, 0)
    x, wide = rng.uniform(-0.5, 0.5), 0.004 + 0.01 * (y / HEIGHT) ** 2
    wood, stripe = _pick(rng, _WOODS), _pick(rng, (_RED, _HULLS[2], _WHITE))
    striped = rng.random() < 0.4
    for _ in range(rng.integers(1, 4)):
        top, slant = wide * rng.uniform(9, 16), rng.normal(0, 0.004)
        brush.line([(x, -0.05), (x + slant, top)], wide, _WHITE if striped else wood)
        brush.line([(x, -0.05), (x + slant * 0.1, wide * 1.3)], wide, (48, 50, 40))
        if striped:
            for low in np.arange(wide * 2, top - wide, wide * 2):
                brush.line([(x + slant * low / top, low), (x, low + wide)], wide, stripe)
        x += wide * rng.uniform(0.8, 6)
    return brush.layer, y


def _draw_gull(rng: np.random.Generator, scene: Pixels, light: _Light) -> None:
    size = rng.uniform(0.012, 0.03)
    at = (rng.uniform(0.05, 0.95) * WIDTH, rng.uniform(0.05, 0.5) * HEIGHT)
    brush = _Brush(at, WIDTH, 1, bool(rng.random() < 0.5), rng.normal(0, 0.15))
    up = rng.uniform(-0.2, 0.7) * size
    wings = _curve((-size, up * 0.5), (-size * 0.5, up), (0, 0), (size * 0.5, up), (size, up * 0.5))
    brush.line(wings, size * 0.13, _vary(rng, (226, 228, 230)))
    brush.disc((0, 0), size * 0.22, _WHITE, 0.5)
    pixels, (left, top, right, _) = _shrink(brush.layer, light)
    _blend(scene[top:, left:right], pixels)


def _draw_ripples(rng: np.random.Generator, horizon: int) -> Pixels:
    """Returns the water's slope `(240, 800) float32`, about -4 to 4, with 0 above the horizon."""
    size = (256, 512)
    texture = np.zeros((1, 1), dtype=np.float32)
    for strength, cells in _OCTAVES:
        texture = _resize(texture, cells)
        texture += strength * rng.standard_normal(cells, dtype=np.float32)
    texture = _resize(texture, size)
    near = np.maximum(_ROWS - horizon, 0)
    # Waves come closer together towards the horizon, across more slowly than along the view.
    rows = 60 * np.log1p(near / 15)
    columns = np.abs((_COLUMNS - WIDTH / 2) * 1.2 / (1 + near / 60) + size[1] / 2)
    columns = size[1] - 1 - np.abs(size[1] - 1 - columns)  # folded at both edges: no seam
    slope = texture[rows.astype(int), columns.astype(int)]
    gusts = 0.7 + 0.3 * _noise(rng, (5, 4), (HEIGHT // 4, WIDTH // 4))
    slope *= gusts.repeat(4, axis=0).repeat(4, axis=1)
    return _float32(slope * (near > 0) * rng.uniform(0.35, 1.0))


def _draw_water(rng: np.random.Generator, light: _Light, horizon: int, ripples: Pixels) -> Pixels:
    """Returns shore, sky and the water that mirrors them `(240, 800, 3) float32`."""
    shore = _draw_sky(rng, light)
    things = _draw_quay(rng, light) if rng.random() < 0.5 else _draw_skyline(rng, light)
    shore.paste(things, mask=things)
    scene = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    top = max(horizon, 0)
    scene[:top] = np.asarray(shore)[_SHORE - top :]
    waves, near = ripples[top:], _ROWS[top:] - horizon
    rows = (_SHORE - 1 - near + waves * (1 + 0.12 * near)).clip(0, _SHORE - 1)
    columns = (_COLUMNS + waves * 0.03 * near).clip(0, WIDTH - 1)
    smeared = shore.filter(ImageFilter.BoxBlur((1, 4)))
    mirrored = np.asarray(smeared)[rows.astype(int), columns.astype(int)]
    deep = _float32(_vary(rng, light.deep)) * _float32(rng.uniform(0.85, 1.3))
    clear = 0.1 + 0.6 * np.exp(-near / rng.uniform(60, 160)) + 0.15 * waves
    scene[top:] = deep + (mirrored - deep) * clear.clip(0.04, 0.95)[..., None]
    sun = np.exp(-(((_COLUMNS - rng.uniform(0, WIDTH)) / rng.uniform(80, 300)) ** 2))
    sparks = (waves - rng.uniform(1.0, 1.8)).clip(0, 1) * _float32(sun * light.glitter)
    scene[top:] += sparks[..., None] * _float32(light.sky_low)
    return scene


def _draw_sky(rng: np.random.Generator, light: _Light) -> Image.Image:
    size = (_SHORE // 4, WIDTH // 4)
    height = np.linspace(1, 0, size[0], dtype=np.float32)[:, None, None]
    high, low = _float32(light.sky_high), _float32(light.sky_low)
    clouds = _noise(rng, (8, 5), size) + 0.5 * _noise(rng, (20, 14), size)
    cover = (clouds * 0.25 - rng.uniform(-0.2, 0.4)).clip(0, 0.6)[..., None]
    sky = low + (high - low) * height**0.7
    sky = sky + (246 - sky) * cover
    return Image.fromarray(sky.astype(np.uint8)).resize((WIDTH, _SHORE))


def _draw_skyline(rng: np.random.Generator, light: _Light) -> Image.Image:
    """Returns two layers of a far shore, RGBA, 800 wide and 200 high."""
    layer = Image.new("RGBA", (WIDTH, _SHORE))
    draw = ImageDraw.Draw(layer)
    for distance in (0.7, rng.uniform(0.25, 0.5)):

        def haze(colour: Colour, share: float = distance) -> Colour:
            return _mix(_vary(rng, colour), light.sky_low, share)

        x = -30.0
        while x < WIDTH:
            wide, top = rng.uniform(14, 60), _SHORE - rng.uniform(5, 22) * (1.3 - distance)
            middle, wall, roof = x + wide / 2, haze(_pick(rng, _FACADES)), haze((150, 84, 62))
            kind = rng.random()
            if kind < 0.4:
                draw.ellipse((x, top, x + wide, 2 * _SHORE - top), haze((66, 92, 62)))
            else:
                draw.rectangle((x, top, x + wide, _SHORE), wall)
                draw.polygon(((x - 2, top), (middle, top - 4), (x + wide + 2, top)), roof)
            if kind > 0.93:  # a bell tower
                draw.rectangle((middle - 3, top - 26, middle + 3, _SHORE), wall)
                spire = ((middle - 4, top - 26), (middle, top - 38), (middle + 4, top - 26))
                draw.polygon(spire, roof)
            x += wide * rng.uniform(0.5, 1.1)
        draw.rectangle((0, _SHORE - 3, WIDTH, _SHORE), haze((90, 86, 80)))
    return _shine(layer, light)


def _draw_quay(rng: np.random.Generator, light: _Light) -> Image.Image:
    """Returns a row of houses behind a stone quay, RGBA, 800 wide and 200 high."""
    layer = Image.new("RGBA", (WIDTH, _SHORE))
    draw = ImageDraw.Draw(layer)
    quay = int(rng.integers(8, 26))
    base = _SHORE - quay
    x = -int(rng.integers(0, 100))
    while x < WIDTH:
        wide = int(rng.integers(80, 190))
        _draw_house(rng, draw, (x, x + wide), base, light.lamps)
        x += wide + 1
    stone = _vary(rng, (170, 164, 152))
    draw.rectangle((0, base, WIDTH, _SHORE), stone)
    draw.rectangle((0, base, WIDTH, base + 2), _mix(stone, _WHITE, 0.5))
    for x in range(0, WIDTH, 37):
        draw.line((x, base + 3, x, _SHORE), _mix(stone, _DARK, 0.3))
    draw.rectangle((0, _SHORE - quay // 3, WIDTH, _SHORE), (62, 66, 56))  # weed
    return _shine(layer, light)


def _draw_house(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, sides: tuple[int, int], base: int,
    lamps: float,
) -> None:  # fmt: skip
    wall, shutter = _pick(rng, _FACADES), _pick(rng, ((52, 88, 66), (92, 60, 44), (70, 90, 110)))
    draw.rectangle((sides[0], base - int(rng.integers(90, 230)), sides[1], base), wall)
    draw.rectangle((sides[0], base - 7, sides[1], base), _mix(wall, _SAND, 0.5))
    pitch, size = int(rng.integers(26, 42)), int(rng.integers(9, 14))
    frame = _mix(wall, _WHITE, 0.45)
    for left in range(sides[0] + 12, sides[1] - size - 6, pitch):
        right = left + size
        for floor, low in enumerate(range(base - 8, 10, -int(size * 3.2))):
            pane = (255, 226, 150) if rng.random() < lamps else _vary(rng, (62, 66, 72))
            high, foot = low - int(size * 1.7), low if floor or rng.random() < 0.6 else base
            draw.rectangle((left - 2, high - 2, right + 2, foot + 1), frame)
            draw.rectangle((left, high, right, foot), pane)
            if floor and rng.random() < 0.6:
                draw.rectangle((left - 5, high, left - 1, low), shutter)
                draw.rectangle((right + 1, high, right + 5, low), shutter)


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
    scene: Pixels, layer: Image.Image, waterline: float, light: _Light, ripples: Pixels
) -> None:
    """Lays a drawn layer on the scene: what is above the waterline, and its reflection below."""
    pixels, (left, high, right, _) = _shrink(layer, light)
    around = slice(left, right)
    waves = ripples[:, around]
    # A hull is darkest where it leaves the water, and the light on it is never quite even.
    up = waterline - _ROWS[high:]
    pixels[..., :3] *= (1.03 - 0.3 * np.exp(-np.maximum(up, 0) / 14))[..., None]
    shown = pixels
    shown[..., 3] *= (up + 0.7 * waves[high:] + 0.5).clip(0, 1)
    first = max(high, int(waterline) - 2)
    depth, waves = _ROWS[first:] - waterline, waves[first:]
    rows = (waterline - depth + waves * (1 + 0.14 * depth) - high).clip(0, len(shown) - 1)
    columns = _COLUMNS[:, around] - left + waves * (0.6 + 0.04 * depth)
    mirrored = shown[rows.astype(int), columns.clip(0, right - left - 1).astype(int)]
    mirrored *= _float32((0.72, 0.72, 0.72, 0.62))
    mirrored[..., 3] *= np.exp(-np.maximum(depth, 0) / 110)
    _blend(scene[first:, around], mirrored)
    _blend(scene[high:, around], shown)


def _shrink(layer: Image.Image, light: _Light) -> tuple[Pixels, tuple[int, int, int, int]]:
    """Returns the drawn part of a layer at the photo's size, in the day's light, and its place.

    The pixels are `(H, W, 4) float32`: from the first row drawn to the photo's last, and from
    eight columns left of what is drawn to eight right of it.
    """
    left, top, right, _ = (side // _OVERSAMPLING for side in layer.getbbox() or (0, 0, 0, 0))
    box = (max(left - 8, 0), min(top, HEIGHT - 1), min(right + 8, WIDTH), HEIGHT)
    corners = [float(side * _OVERSAMPLING) for side in box]
    small = layer.crop((corners[0], corners[1], corners[2], corners[3])).reduce(_OVERSAMPLING)
    return np.array(_shine(small, light), dtype=np.float32), box


def _shine(layer: Image.Image, light: _Light) -> Image.Image:
    """Lays the light of the day on an RGBA layer."""
    levels = np.outer((*light.tint, 1.0), np.arange(256)).clip(0, 255)
    return layer.point(levels.astype(int).ravel().tolist())


def _blend(scene: Pixels, layer: Pixels) -> None:
    """Lays pixels `(H, W, 4) float32`, 0 to 255 and straight alpha, on a scene of their size."""
    scene += (layer[..., :3] - scene) * (layer[..., 3:] / 255)


def _expose(rng: np.random.Generator, scene: Pixels) -> Image.Image:
    """Adds what a camera does: exposure, white balance, lack of focus, noise of the sensor."""
    balance = _float32(rng.uniform(0.85, 1.12) * rng.normal(1, 0.02, 3))
    exposed = Image.fromarray((scene * balance).clip(0, 255).astype(np.uint8))
    blurred = exposed.filter(ImageFilter.BoxBlur(rng.uniform(0.0, 0.7)))
    grain = rng.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32) * rng.uniform(1, 6)
    noisy = np.asarray(blurred) + grain.astype(np.int16)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _float32(values: ArrayLike) -> Pixels:
    return np.asarray(values, dtype=np.float32)


def _noise(rng: np.random.Generator, cells: tuple[int, int], size: tuple[int, int]) -> Pixels:
    """Returns smooth noise `size float32` of mean 0 and variance about 1, of `cells` bumps."""
    return _resize(rng.standard_normal(cells, dtype=np.float32), size)


def _resize(values: Pixels, size: tuple[int, int]) -> Pixels:
    """Resizes `(H, W) float32` to the rows and columns given."""
    resized = Image.fromarray(values).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.array(resized, dtype=np.float32)


def _curve(*knots: Point) -> list[Point]:
    """Returns points of a Catmull-Rom spline through the knots, eight for each stretch."""
    inner = np.asarray(knots, dtype=float)
    p = np.concatenate([[2 * inner[0] - inner[1]], inner, [2 * inner[-1] - inner[-2]]])
    t = np.linspace(0, 1, 9)[:-1, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    path = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3
    )
    points = path.transpose(1, 0, 2).reshape(-1, 2)
    return [*((x, y) for x, y in points.tolist()), knots[-1]]


def _pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    return _vary(rng, colours[int(rng.integers(len(colours)))])


def _vary(rng: np.random.Generator, colour: Colour) -> Colour:
    change = rng.integers(-12, 13, 3).tolist()
    red, green, blue = (min(max(a + b, 0), 255) for a, b in zip(colour, change, strict=True))
    return red, green, blue


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
