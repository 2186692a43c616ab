"""Where a file looked: what its score loses when a part of the photo is made unrecognisable.

The occlusion map of Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901. Parts are blurred, as
by Fong and Vedaldi 2017, https://arxiv.org/abs/1704.03296: a grey square is itself something to
see. It asks the shipped file itself, needs no gradients, and so works on every file, int8 and SVM
included.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from boats_runtime.classifier import Classifier

PATCHES = 48
"""Parts of a photo that are blurred, one after the other: about so many."""

OVERLAP = 1.5
"""What is blurred is larger than a part by this factor, so that neighbours overlap."""

NOTHING = 0.02
"""Where no part loses the score more than this, no part alone decides."""

HEAT = (255, 106, 0)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Saliency:
    """What a score loses by each part of a photo.

    Attributes:
        drops: Score of the photo less that with the part blurred `(R, C) float64`, -1 to 1.
    """

    drops: NDArray[np.float64]

    @property
    def largest(self) -> float:
        """The largest loss, 0 to 1."""
        return max(0.0, float(self.drops.max()))

    @property
    def place(self) -> str:
        """The part that counts most, in words; empty where none alone decides."""
        if self.largest < NOTHING:
            return ""
        row, column = np.unravel_index(np.argmax(self.drops), self.drops.shape)
        rows, columns = self.drops.shape
        upright = ("top", "middle", "bottom")[int(3 * (row + 0.5) / rows)]
        across = ("left", "centre", "right")[int(3 * (column + 0.5) / columns)]
        return f"{upright} {across}"


def find_saliency(classifier: Classifier, pixels: Pixels, predicted: int, score: float) -> Saliency:
    """Blurs one part of a photo after the other and asks again.

    Args:
        classifier: The file.
        pixels: What `Classifier.prepare` returned.
        predicted: The class index that the file gave.
        score: Its probability.
    """
    height, width, _ = pixels.shape
    rows, columns = _grid(height, width)
    blur = ImageFilter.GaussianBlur(min(height / rows, width / columns) / 2)
    blurred = np.asarray(Image.fromarray(pixels).filter(blur))
    left = np.empty(rows * columns, dtype=np.float64)
    for start in range(0, len(left), classifier.batch):
        places = range(start, min(start + classifier.batch, len(left)))
        photos = np.repeat(pixels[np.newaxis], len(places), axis=0)
        for photo, place in zip(photos, places, strict=True):
            row, column = divmod(place, columns)
            part = _span(row, rows, height), _span(column, columns, width)
            photo[part] = blurred[part]
        probabilities, _ = classifier.run(photos)
        left[start : start + len(places)] = probabilities[:, predicted]
    return Saliency(score - left.reshape(rows, columns))


def draw_saliency(image: Image.Image, saliency: Saliency) -> Image.Image:
    """Draws a photo in grey, and in colour the parts that its score needs.

    Args:
        image: The photo, RGB.
        saliency: Of that photo.
    """
    grey = np.asarray(image.convert("L").convert("RGB"), dtype=np.float64) * 0.8 + 20
    heat = np.clip(saliency.drops / max(saliency.largest, NOTHING), 0, 1).astype(np.float32)
    smooth = Image.fromarray(heat).resize(image.size, Image.Resampling.BICUBIC)
    share = 0.8 * np.clip(np.asarray(smooth, dtype=np.float64), 0, 1)[:, :, np.newaxis]
    mixed = grey * (1 - share) + np.array(HEAT) * share
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _grid(height: int, width: int) -> tuple[int, int]:
    """Divides a photo into parts that are about square."""
    rows = min(height, max(2, round(math.sqrt(PATCHES * height / width))))
    return rows, min(width, max(2, round(PATCHES / rows)))


def _span(index: int, parts: int, side: int) -> slice:
    """Returns the pixels that are blurred for one part of a side."""
    length = side / parts
    centre, half = (index + 0.5) * length, OVERLAP * length / 2
    return slice(max(0, round(centre - half)), max(1, round(centre + half)))
