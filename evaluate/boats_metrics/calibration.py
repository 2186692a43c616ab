"""Calibration: how well the scores agree with the accuracy.

The reliability diagram and the expected calibration error of Guo et al. 2017,
https://arxiv.org/abs/1706.04599.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Mean score and accuracy of the images with scores from `lower` to `lower + 1 / BINS`."""

    lower: float
    images: int
    score: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Agreement of scores and accuracy.

    Attributes:
        calibration_error: Expected calibration error: mean absolute difference of score and
            accuracy over the bins, weighted by their number of images, 0 to 1.
        bins: Bins that contain images, in ascending order of the score.
    """

    calibration_error: float
    bins: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        bins = [
            {"low": b.lower, "photos": b.images, "score": b.score, "accuracy": b.accuracy}
            for b in self.bins
        ]
        return {"error": self.calibration_error, "bins": bins}


def compute_reliability(scores: NDArray[np.float64], correct: NDArray[np.bool_]) -> Reliability:
    """Compare scores with the accuracy.

    Args:
        scores: (N,) float64, probability of each predicted class, 0 to 1; N is at least 1.
        correct: (N,) bool, whether each prediction is correct.
    """
    indices = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    bins = []
    for index in np.unique(indices):
        inside = indices == index
        score, accuracy = float(scores[inside].mean()), float(correct[inside].mean())
        bins.append(ReliabilityBin(float(index / BINS), int(inside.sum()), score, accuracy))
    error = sum(b.images * abs(b.accuracy - b.score) for b in bins) / len(scores)
    return Reliability(float(error), tuple(bins))
