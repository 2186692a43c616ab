"""Whether a score means what it says: how often the photos of each score are right.

The diagram and the expected calibration error of Guo et al. 2017, https://arxiv.org/abs/1706.04599.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Photos whose scores lie together.

    Attributes:
        low: Smallest score that belongs to it, 0 to 1.
        photos: How many there are, at least 1.
        score: Their mean score, 0 to 1.
        accuracy: Share of them that is right.
    """

    low: float
    photos: int
    score: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """How far scores are from the truth.

    Attributes:
        error: Expected calibration error: mean distance of score and accuracy over the bins, each
            weighted by its photos, 0 to 1.
        bins: Those of `BINS` equal ones that have photos, scores rising.
    """

    error: float
    bins: tuple[Bin, ...]


def compute_reliability(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> Reliability:
    """Compares scores with how often they are right.

    Args:
        scores: Of the predicted classes `(N,) float64`, 0 to 1, N at least 1.
        right: Whether each prediction is right `(N,) bool`.
    """
    place = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    bins = []
    for index in np.unique(place):
        inside = place == index
        low, photos = float(index / BINS), int(inside.sum())
        bins.append(Bin(low, photos, float(scores[inside].mean()), float(right[inside].mean())))
    error = sum(one.photos * abs(one.accuracy - one.score) for one in bins) / len(scores)
    return Reliability(float(error), tuple(bins))
