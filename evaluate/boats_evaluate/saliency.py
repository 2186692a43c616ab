"""Occlusion maps: how much the score drops when a part of the image is made unrecognizable.

The method of Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901. Parts are blurred as in Fong
and Vedaldi 2017, https://arxiv.org/abs/1704.03296, because a gray patch is itself a visible object.
It needs no gradients, so it works with every exported file, including int8 and SVM files.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from boats_runtime.classifier import Classifier

PATCHES = 48
"""Approximate number of patches of an image."""

OVERLAP = 1.5
"""Side of the blurred area, relative to the patch."""

MIN_DROP = 0.02
"""Smallest drop of the score at which a patch is considered important."""

HEAT_COLOR = (255, 106, 0)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Saliency:
    """Drop of the score when each patch is blurred: (R, C) float64, -1 to 1."""

    drops: NDArray[np.float64]

    @property
    def max_drop(self) -> float:
        """Largest drop, 0 to 1."""
        return max(0.0, float(self.drops.max()))

    @property
    def region(self) -> str:
        """Region of the most important patch, such as `top left`; empty if no patch matters."""
        if self.max_drop < MIN_DROP:
            return ""
        row, column = np.unravel_index(np.argmax(self.drops), self.drops.shape)
        rows, columns = self.drops.shape
        vertical = ("top", "middle", "bottom")[int(3 * (row + 0.5) / rows)]
        horizontal = ("left", "center", "right")[int(3 * (column + 0.5) / columns)]
        return f"{vertical} {horizontal}"


def compute_saliency(
    classifier: Classifier, pixels: Pixels, predicted: int, score: float
) -> Saliency:
    """Classify an image with each patch blurred in turn.

    Args:
        classifier: Model.
        pixels: (H, W, 3) uint8, output of `Classifier.prepare`.
        predicted: Class index that the model predicts for the image.
        score: Probability of this class, 0 to 1.
    """
    height, width, _ = pixels.shape
    # The patches are roughly square.
    rows = min(height, max(2, round(math.sqrt(PATCHES * height / width))))
    columns = min(width, max(2, round(PATCHES / rows)))
    blur = ImageFilter.GaussianBlur(min(height / rows, width / columns) / 2)
    blurred = np.asarray(Image.fromarray(pixels).filter(blur))
    scores = np.empty(rows * columns, dtype=np.float64)
    for start in range(0, len(scores), classifier.batch):
        patches = range(start, min(start + classifier.batch, len(scores)))
        images = np.repeat(pixels[np.newaxis], len(patches), axis=0)
        for image, patch in zip(images, patches, strict=True):
            row, column = divmod(patch, columns)
            area = _blur_span(row, rows, height), _blur_span(column, columns, width)
            image[area] = blurred[area]
        probabilities, _ = classifier.run(images)
        scores[start : start + len(patches)] = probabilities[:, predicted]
    return Saliency(score - scores.reshape(rows, columns))


def draw_saliency(image: Image.Image, saliency: Saliency) -> Image.Image:
    """Draw the RGB image in gray, with the important parts in orange."""
    gray = np.asarray(image.convert("L").convert("RGB"), dtype=np.float64) * 0.8 + 20
    heat = np.clip(saliency.drops / max(saliency.max_drop, MIN_DROP), 0, 1).astype(np.float32)
    smooth = Image.fromarray(heat).resize(image.size, Image.Resampling.BICUBIC)
    opacity = 0.8 * np.clip(np.asarray(smooth, dtype=np.float64), 0, 1)[:, :, np.newaxis]
    blended = gray * (1 - opacity) + np.array(HEAT_COLOR) * opacity
    return Image.fromarray(np.rint(blended).astype(np.uint8))


def _blur_span(index: int, patches: int, size: int) -> slice:
    """Return the pixels to blur along one axis."""
    length = size / patches
    center, radius = (index + 0.5) * length, OVERLAP * length / 2
    return slice(max(0, round(center - radius)), max(1, round(center + radius)))
