"""Add the features of numbered images to a cache.

Usage: python fill_feature_cache.py CACHE START COUNT
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_train.features.cache import FeatureCache


def make_digest(number: int) -> bytes:
    """Return the digest of a numbered image."""
    return number.to_bytes(32)


def make_features(number: int) -> NDArray[np.float32]:
    """Return the features of a numbered image."""
    return np.full(3, number, np.float32)


def main() -> None:
    """Fill the cache."""
    cache = FeatureCache(Path(sys.argv[1]), "key")
    start, count = int(sys.argv[2]), int(sys.argv[3])
    for number in range(start, start + count):
        cache.put(make_digest(number), make_features(number))
    cache.flush()


if __name__ == "__main__":
    main()
