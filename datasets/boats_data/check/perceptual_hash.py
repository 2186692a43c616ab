"""Photos that are nearly the same: fingerprints of 512 bits, compared pair by pair."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_runtime.preprocessing import Preprocessing

CELLS = 16
BITS = 2 * CELLS * CELLS

NEAR_BITS = 44
"""Fingerprints that differ in at most this many bits are of nearly the same photo.

Measured on the 3,869 photos of the boats, all of one fixed camera: JPEG at quality 30 changes up to
32 bits of a photo of a boat (58 of mere water), half the size up to 24, a brightness of 1.2 up to
30, and two photos of different boats differ in 51 or more. A camera that moves sets them further
apart.
"""

MAX_PAIRS = 1_000_000
"""The search ends when it has found this many pairs: the folder is in need of a look by then."""

_BLOCK = 512
_PIXELS = 4
_SHRINK = Preprocessing((CELLS + 1) * _PIXELS, (CELLS + 1) * _PIXELS)
# https://www.itu.int/rec/R-REC-BT.601: luma, in thousandths: whole numbers, so that flat parts of a
# photo are equally bright to the last bit
_LUMA = np.asarray((299, 587, 114))


@dataclass(frozen=True)
class NearPairs:
    """Pairs of photos that are nearly the same, the nearest first.

    Attributes:
        pairs: Indices of both photos `(P, 2) int64`, the smaller one first.
        bits: In how many bits they differ `(P,) int64`.
        complete: Whether these are all; False when there are more than `MAX_PAIRS`.
    """

    pairs: NDArray[np.int64]
    bits: NDArray[np.int64]
    complete: bool


def fingerprint(image: Image.Image) -> NDArray[np.bool_]:
    """Tells where a photo gets brighter from left to right and from top to bottom.

    This is the difference hash (https://www.hackerfactor.com/blog/index.php?/archives/529) in both
    directions. The sizes of the file and the photo, colours, brightness and contrast hardly change
    it; cropping and turning do.

    Args:
        image: A decoded photo, not yet turned by its EXIF orientation.

    Returns:
        `(512,) bool`.

    Raises:
        ImageError: The photo's pixels have no defined range.
    """
    side = CELLS + 1
    blocks = _SHRINK.apply(image).reshape(side, _PIXELS, side, _PIXELS, 3)
    grey = blocks.sum(axis=(1, 3), dtype=np.int64) @ _LUMA
    across = grey[:CELLS, 1:] > grey[:CELLS, :-1]
    down = grey[1:, :CELLS] > grey[:-1, :CELLS]
    return np.concatenate([across.ravel(), down.ravel()])


def find_near(
    fingerprints: NDArray[np.bool_], contents: NDArray[np.int64], limit: int = NEAR_BITS
) -> NearPairs:
    """Finds all pairs of photos that are nearly, but not exactly, the same.

    Args:
        fingerprints: `(N, 512) bool`.
        contents: Numbers that tell the files' contents apart `(N,) int64`: photos of the same
            number are no pair.
        limit: In how many bits a pair may differ.
    """
    # With bits as -1 and 1 the product of two rows is bits agreed less bits differing: a matrix
    # product is the quickest way to all distances, and exact in float32.
    signs = np.where(fingerprints, np.float32(1), np.float32(-1))
    pairs, bits = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    found = 0
    for start in range(0, len(signs), _BLOCK):
        stop = start + _BLOCK
        product = signs[start:stop] @ signs[start:].T
        near = product >= BITS - 2 * limit
        near &= contents[start:stop, None] != contents[None, start:]
        rows, columns = np.nonzero(np.triu(near, 1))
        pairs.append(np.stack([rows, columns], axis=1) + start)
        bits.append(((BITS - product[rows, columns]) / 2).astype(np.int64))
        found += len(rows)
        if found > MAX_PAIRS:
            break
    all_pairs, all_bits = np.concatenate(pairs)[:MAX_PAIRS], np.concatenate(bits)[:MAX_PAIRS]
    order = np.argsort(all_bits, kind="stable")
    return NearPairs(all_pairs[order], all_bits[order], complete=found <= MAX_PAIRS)
