"""Perceptual hashes of 512 bits, compared pair by pair to find nearly identical images."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_runtime.preprocessing import Preprocessing

CELLS = 16
BITS = 2 * CELLS * CELLS

MAX_DISTANCE = 44
"""Largest number of differing bits between the hashes of nearly identical images.

Measured on the 3,869 images of the boats dataset, all from one fixed camera: JPEG compression at
quality 30 changes up to 32 bits of an image of a boat (58 of plain water), half the size up to 24,
a brightness of 1.2 up to 30. Images of different boats differ in at least 51 bits, and in more bits
if the camera moves.
"""

MAX_DIFFERENT_SHARE = 0.16
"""Largest share of the edges of either image that differ between nearly identical images.

A plain background has no edges, so hashes of different images with plain backgrounds differ in few
bits: such images only look alike. Half of the bits of an image without plain parts are edges.
"""

MAX_PAIRS = 1_000_000
"""Number of pairs at which the search ends."""

_BLOCK = 512
_BIT_COUNTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, np.uint8)
_PIXELS = 4
_PREPROCESSING = Preprocessing((CELLS + 1) * _PIXELS, (CELLS + 1) * _PIXELS)
# Luma of https://www.itu.int/rec/R-REC-BT.601 in thousandths. Integers, so that uniform parts of
# an image have exactly the same brightness.
_LUMA = np.asarray((299, 587, 114))


def compute_hash(image: Image.Image) -> NDArray[np.bool_]:
    """Return where an image gets brighter from left to right and from top to bottom.

    This is the difference hash (https://www.hackerfactor.com/blog/index.php?/archives/529) in both
    directions. Compression, scaling, color, brightness and contrast hardly change it; cropping and
    rotation do.

    Args:
        image: Decoded image, before EXIF orientation is applied.

    Returns:
        `(512,) bool`.

    Raises:
        ImageError: If the pixel values have no defined range.
    """
    side = CELLS + 1
    blocks = _PREPROCESSING.apply(image).reshape(side, _PIXELS, side, _PIXELS, 3)
    luma = blocks.sum(axis=(1, 3), dtype=np.int64) @ _LUMA
    brighter_right = luma[:CELLS, 1:] > luma[:CELLS, :-1]
    brighter_below = luma[1:, :CELLS] > luma[:-1, :CELLS]
    return np.concatenate([brighter_right.ravel(), brighter_below.ravel()])


def are_nearly_identical(hashes: NDArray[np.bool_], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which near pairs `(P, 2) int64` differ in a small share of their edges, `(P,) bool`.

    The others look alike, for example because of a plain background.
    """
    packed = np.packbits(hashes, axis=1)
    first, second = packed[pairs[:, 0]], packed[pairs[:, 1]]
    different = _BIT_COUNTS[first ^ second].sum(axis=1, dtype=np.int64)
    edges = _BIT_COUNTS[first | second].sum(axis=1, dtype=np.int64)
    return np.asarray((edges > 0) & (different <= MAX_DIFFERENT_SHARE * edges))


def find_near_pairs(
    hashes: NDArray[np.bool_], contents: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of images that are nearly, but not exactly, identical.

    Args:
        hashes: Perceptual hashes `(N, 512) bool`.
        contents: Number of the content of each file `(N,) int64`. Files with equal numbers are not
            paired.

    Returns:
        Indices of both images `(P, 2) int64`, the smaller index first, and the number of differing
        bits `(P,) int64`, nearest pairs first. P is at most `MAX_PAIRS`: the search ends there.
    """
    # With bits as -1 and 1, the dot product of two hashes is the number of equal bits minus the
    # number of differing bits. A matrix product is fast, and exact in float32.
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    indices, distances = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    found = 0
    for start in range(0, len(signs), _BLOCK):
        stop = start + _BLOCK
        product = signs[start:stop] @ signs[start:].T
        near = product >= BITS - 2 * MAX_DISTANCE
        near &= contents[start:stop, None] != contents[None, start:]
        rows, columns = np.nonzero(np.triu(near, 1))
        indices.append(np.stack([rows, columns], axis=1) + start)
        distances.append(((BITS - product[rows, columns]) / 2).astype(np.int64))
        found += len(rows)
        if found >= MAX_PAIRS:
            break
    pairs, bits = np.concatenate(indices)[:MAX_PAIRS], np.concatenate(distances)[:MAX_PAIRS]
    order = np.argsort(bits, kind="stable")
    return pairs[order], bits[order]
