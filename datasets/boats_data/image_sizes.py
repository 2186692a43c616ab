"""Size of the network input that suits the images of a dataset: `--image-size auto`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_runtime.decoding import read_size
from boats_runtime.errors import DataError, ImageError
from boats_runtime.prefetch import prefetch

MAX_SAMPLE = 300
"""Largest number of images whose sizes are read."""

STEP = 32
"""Both sides are multiples of the total stride of most networks."""

MIN_SIDE = 64
"""Shortest side: 2 positions of the last layer of most networks."""

MAX_AREA = 2 * 224 * 224
"""Pixels of an input beyond which accuracy on boats does not increase, and time does."""

ROUNDING = 1.3
"""Factor by which the area may exceed its limit if the shape is then closer."""

DISTORTION_WEIGHT = 2.0
"""Cost of a changed aspect ratio, relative to that of a changed area."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class SampledSizes:
    """Sizes of a sample of images.

    Attributes:
        sizes: Height and width after EXIF orientation, (N, 2) int64.
        indices: Indices of these images among all images, (N,) int64.
    """

    sizes: NDArray[np.int64]
    indices: NDArray[np.int64]

    @property
    def median(self) -> Size:
        """Height and width with the median aspect ratio and the median area."""
        heights, widths = self.sizes.T.astype(np.float64)
        aspect, area = float(np.median(widths / heights)), float(np.median(widths * heights))
        return max(1, round(math.sqrt(area / aspect))), max(1, round(math.sqrt(area * aspect)))


def sample_sizes(paths: Sequence[Path], folder: Path) -> SampledSizes:
    """Read the sizes of an evenly spaced sample of images from their headers.

    If no image of the sample can be read, all images are tried.

    Args:
        paths: Image files, at least one.
        folder: Folder of the images, named by the error.

    Raises:
        DataError: If no image can be read.
    """
    count = min(len(paths), MAX_SAMPLE)
    sample = np.unique(np.linspace(0, len(paths) - 1, count).round().astype(np.int64))
    for indices in (sample, np.arange(len(paths))):
        results = list(prefetch(_try_size, [paths[index] for index in indices], 16))
        found = [number for number, size in enumerate(results) if size is not None]
        if found:
            sizes = np.array([results[number] for number in found], dtype=np.int64)
            return SampledSizes(sizes, indices[found])
    raise DataError(f"{folder}: none of the {len(paths)} images can be read")


def choose_size(median: Size, max_area: float = MAX_AREA) -> Size:
    """Choose the size of the network input for images of a height and width.

    Both sides are multiples of 32. The area is at most about that of the images and `max_area`. The
    shorter side is at least 64, which enlarges tiny images and shortens panoramas.

    Args:
        median: Height and width of the images.
        max_area: Limit of the area in pixels.
    """
    aspect = median[1] / median[0]
    smallest = MIN_SIDE**2 * max(aspect, 1 / aspect)
    target = max(min(max_area, max(median[0] * median[1], smallest)), MIN_SIDE**2)
    limit = target * ROUNDING

    def compute_cost(size: Size) -> float:
        distortion = abs(math.log(size[1] / size[0] / aspect))
        return DISTORTION_WEIGHT * distortion + abs(math.log(size[0] * size[1] / target))

    sides = range(MIN_SIDE, max(int(limit / MIN_SIDE), MIN_SIDE) + 1, STEP)
    allowed = (size for size in product(sides, sides) if size[0] * size[1] <= limit)
    return min(allowed, key=lambda size: (compute_cost(size), size))


def describe_choice(size: Size, sampled: SampledSizes) -> str:
    """Return a line with the chosen size and its reason."""
    height, width = sampled.median
    count = len(sampled.sizes)
    noun = f"median of {count} images" if count > 1 else "the only image"
    area = size[0] * size[1] / (height * width)
    distortion = max(ratio := (size[1] / size[0]) / (width / height), 1 / ratio) - 1
    return (
        f"image size {size[0]}x{size[1]}: {noun} is {height}x{width}; "
        f"{area:.0%} of its pixels, aspect ratio within {distortion:.0%} (HEIGHTxWIDTH)"
    )


def _try_size(path: Path) -> Size | None:
    try:
        return read_size(path)
    except (ImageError, OSError):
        return None
