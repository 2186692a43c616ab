"""Selective classification: coverage and accuracy when low scores are reported as "unknown".

The risk-coverage curve of El-Yaniv and Wiener 2010, https://jmlr.org/papers/v11/el-yaniv10a.html.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TARGET_ACCURACY = 0.95
"""Selective accuracy that the selected threshold should reach."""

MIN_COVERAGE = 0.5
"""Smallest coverage that the selected threshold may have."""

STEPS = 100
"""Number of steps between the thresholds 0 and 1 of a coverage curve."""


class CoveragePoint(NamedTuple):
    """Coverage and selective accuracy at one threshold.

    Attributes:
        threshold: Smallest score that is not reported as unknown, 0 to 1.
        coverage: Share of the images with at least this score, 0 to 1.
        accuracy: Selective accuracy: share of correct predictions among these images, 0 to 1;
            None if the coverage is 0.
    """

    threshold: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True)
class ThresholdSelection:
    """Selected point of a coverage curve, as in `CoveragePoint`, and the whole curve."""

    threshold: float
    coverage: float
    accuracy: float
    curve: tuple[CoveragePoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return asdict(self)


def select_threshold(
    probabilities: NDArray[np.float64], targets: NDArray[np.int64]
) -> ThresholdSelection:
    """Select the lowest threshold with `TARGET_ACCURACY` and at least `MIN_COVERAGE`.

    If there is none, select the threshold of highest accuracy with at least `MIN_COVERAGE`.

    Args:
        probabilities: (N, K) float64, class probabilities of held-out images; N is at least 1.
        targets: (N,) int64, true class indices.
    """
    curve = coverage_curve(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets)
    allowed = [
        (threshold, coverage, accuracy)
        for threshold, coverage, accuracy in curve
        if accuracy is not None and coverage >= MIN_COVERAGE
    ]
    accurate = [point for point in allowed if point[2] >= TARGET_ACCURACY]
    best = accurate[0] if accurate else max(allowed, key=lambda point: (point[2], point[1]))
    return ThresholdSelection(*best, curve)


def coverage_curve(
    scores: NDArray[np.float64], correct: NDArray[np.bool_]
) -> tuple[CoveragePoint, ...]:
    """Evaluate the thresholds 0, 0.01, ..., 1; arguments as in `evaluate_threshold`."""
    return tuple(evaluate_threshold(scores, correct, step / STEPS) for step in range(STEPS + 1))


def evaluate_threshold(
    scores: NDArray[np.float64], correct: NDArray[np.bool_], threshold: float
) -> CoveragePoint:
    """Compute coverage and selective accuracy at a threshold.

    Args:
        scores: (N,) float64, probability of each predicted class, 0 to 1; N is at least 1.
        correct: (N,) bool, whether each prediction is correct.
        threshold: Smallest score that is not reported as unknown, 0 to 1.
    """
    covered = scores >= threshold
    coverage = float(covered.mean())
    return CoveragePoint(threshold, coverage, float(correct[covered].mean()) if coverage else None)
