"""The brush that boats and scenery are drawn with, and its colours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

WIDTH = 800
HEIGHT = 240

Colour = tuple[int, int, int]
Point = tuple[float, float]

OVERSAMPLING = 2
"""Layers are drawn this many times as large, and shrunk, which smooths their edges."""

WHITE, DARK, STEEL, GLASS = (238, 238, 232), (26, 26, 30), (176, 182, 188), (58, 78, 96)
SAND, ORANGE, RED = (206, 196, 178), (226, 96, 40), (164, 40, 36)
HULLS = (
    (238, 238, 232), (226, 216, 190), (28, 48, 88), (150, 32, 30), (34, 92, 74), (52, 120, 168),
    (214, 158, 44), (70, 74, 80),
)  # fmt: skip
WOODS = ((122, 68, 34), (150, 96, 52), (96, 58, 38), (176, 128, 76))


class Brush:
    """Draws in a boat's own units: x from -0.5 (stern) to 0.5 (bow), y up from the water."""

    def __init__(self, at: Point, length: float, rise: float, mirrored: bool, trim: float) -> None:
        self.layer = Image.new("RGBA", (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING))
        self._draw = ImageDraw.Draw(self.layer)
        self._at = np.asarray(at) * OVERSAMPLING
        self._unit = length * OVERSAMPLING
        cos, sin = float(np.cos(trim)), float(np.sin(trim))
        way = -1 if mirrored else 1
        turn = np.array([[way * cos, -way * sin * rise], [-sin, -cos * rise]])
        self._turn = turn * self._unit

    def polygon(self, points: Sequence[Point], fill: Colour, alpha: int = 255) -> None:
        """Fills a polygon; alpha is 0 to 255."""
        self._draw.polygon(self._place(points), (*fill, alpha))

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """Draws a line as wide as `width` of the boat's length."""
        pixels = max(2, round(width * self._unit))
        self._draw.line(self._place(points), (*fill, 255), pixels, joint="curve")

    def box(self, left: float, low: float, right: float, high: float, fill: Colour) -> None:
        """Fills a box that leans as the boat does."""
        self.polygon([(left, low), (right, low), (right, high), (left, high)], fill)

    def disc(self, at: Point, radius: float, fill: Colour, squash: float = 1.0) -> None:
        """Fills a disc, or an ellipse `squash` times as high as wide."""
        turns = np.linspace(0, 2 * np.pi, 20)
        ring = np.stack([np.cos(turns), np.sin(turns) * squash], axis=1) * radius + at
        self.polygon([(x, y) for x, y in ring.tolist()], fill)

    def _place(self, points: Sequence[Point]) -> list[Point]:
        placed = np.asarray(points) @ self._turn.T + self._at
        return [(x, y) for x, y in placed.tolist()]


def curve(*knots: Point) -> list[Point]:
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


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """Returns one of the colours, varied a little."""
    return vary(rng, colours[int(rng.integers(len(colours)))])


def vary(rng: np.random.Generator, colour: Colour) -> Colour:
    """Returns a colour near the one given."""
    change = rng.integers(-12, 13, 3).tolist()
    red, green, blue = (min(max(a + b, 0), 255) for a, b in zip(colour, change, strict=True))
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Returns a colour so far from the first to the second, 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
