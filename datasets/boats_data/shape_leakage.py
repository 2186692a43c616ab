"""Whether the shape or the resolution of an image gives its class away.

Training resizes every image to one shape. If a class has a shape of its own, the classifier can
learn the distortion instead of the content, and its scores do not hold for other images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BIN_WIDTH = 0.05
"""Width of the bins of the logarithm of an aspect ratio or a resolution: about 5%."""

MIN_LAMBDA = 0.25
"""Share of the errors of the most frequent class that a leak avoids."""

MIN_STANDARD_ERRORS = 3.0
"""Standard errors by which a leak is more accurate than the most frequent class."""


QUANTITIES = {"aspect ratio": "width / height", "resolution": "width x height"}
"""Properties of a size that are examined, with their definitions."""


@dataclass(frozen=True)
class ShapeLeak:
    """A property of the size that predicts the class.

    Attributes:
        quantity: `aspect ratio` or `resolution`.
        accuracy: Accuracy of the most frequent class among the other images of about the same
            value.
        majority: Share of the most frequent class.
    """

    quantity: str
    accuracy: float
    majority: float

    @property
    def message(self) -> str:
        """The problem, in one sentence."""
        return (
            f"The {self.quantity} ({QUANTITIES[self.quantity]}) of an image predicts its class: "
            f"alone it is right for {self.accuracy:.0%} of the training images, the most frequent "
            f"class for {self.majority:.0%}."
        )

    @property
    def advice(self) -> str:
        """What to do, in complete sentences."""
        trace = "distortion" if self.quantity == "aspect ratio" else "sharpness"
        return (
            f"Resizing every image to one shape turns it into {trace}, which the classifier may "
            "learn instead of the content. Crop or resize the images of all classes in the same "
            "way."
        )


def compute_quantity(quantity: str, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one of the `QUANTITIES` of heights and widths, (N, 2) int64, as (N,) float64."""
    heights, widths = sizes.T.astype(np.float64)
    return np.asarray(widths / heights if quantity == "aspect ratio" else widths * heights)


def find_shape_leaks(sizes: NDArray[np.int64], targets: NDArray[np.int64]) -> Iterator[ShapeLeak]:
    """Yield the properties of the sizes that predict the class far better than its frequency.

    Each image is predicted from the others. The measure is lambda of Goodman and Kruskal (1954,
    https://doi.org/10.1080/01621459.1954.10501231): the share of errors that the property avoids.

    Args:
        sizes: Height and width of the images, (N, 2) int64.
        targets: Class indices, (N,) int64; at least one.
    """
    majority = float(np.bincount(targets).max() / len(targets))
    spread = np.sqrt(majority * (1 - majority) / len(targets))
    for quantity in QUANTITIES:
        values = np.log(compute_quantity(quantity, sizes))
        bins = np.round(values / BIN_WIDTH).astype(np.int64)
        accuracy = float(_predict_from_others(bins, targets).mean())
        gain = accuracy - majority
        if gain >= MIN_LAMBDA * (1 - majority) and gain > MIN_STANDARD_ERRORS * spread:
            yield ShapeLeak(quantity, accuracy, majority)


def _predict_from_others(bins: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether the most frequent class among the other images of a bin is right.

    An image that is alone in its bin is predicted wrong.
    """
    _, bins = np.unique(bins, return_inverse=True)
    counts = np.zeros((bins.max() + 1, targets.max() + 1), np.int64)
    np.add.at(counts, (bins, targets), 1)
    others = counts[bins]
    rows = np.arange(len(targets))
    others[rows, targets] -= 1
    # Half a vote against the true class: it does not win a tie.
    own = others[rows, targets] - 0.5
    others[rows, targets] = -1
    return np.asarray(own > others.max(axis=1))
