"""When to say "unknown": how many photos are answered, and how rightly, at each threshold.

The curve is the risk-coverage curve of selective classification (El-Yaniv and Wiener 2010,
https://jmlr.org/papers/v11/el-yaniv10a.html), computed on photos that were held out.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGET_ACCURACY = 0.95
"""The threshold is the lowest at which answered photos are right this often..."""

MIN_COVERAGE = 0.5
"""...as long as at least this share of the photos is still answered."""

STEPS = 100

Row = tuple[float, float, float | None]
"""Threshold, coverage, and accuracy of what is answered: None where nothing is."""


@dataclass(frozen=True)
class ThresholdSelection:
    """The threshold under which a photo is called unknown.

    Attributes:
        threshold: Smallest score that is answered, 0 to 1.
        coverage: Share of held-out photos that is answered.
        accuracy: Share of the answered ones that is right.
        curve: Rows of (threshold, coverage, accuracy), thresholds rising; accuracy is None where
            nothing is answered.
    """

    threshold: float
    coverage: float
    accuracy: float
    curve: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the operating point as JSON values."""
        return asdict(self)


def select_threshold(
    probabilities: NDArray[np.float64], targets: NDArray[np.int64]
) -> ThresholdSelection:
    """Chooses the lowest threshold that makes answers right often enough.

    Where no threshold reaches `TARGET_ACCURACY` with `MIN_COVERAGE`, the one with the highest
    accuracy at that coverage is taken.

    Args:
        probabilities: Of held-out photos `(N, K) float64`, N at least 1.
        targets: Their class indices `(N,) int64`.
    """
    scores = probabilities.max(axis=1)
    curve = coverage_curve(scores, probabilities.argmax(axis=1) == targets)
    allowed = [
        (threshold, coverage, accuracy)
        for threshold, coverage, accuracy in curve
        if accuracy is not None and coverage >= MIN_COVERAGE
    ]
    enough = [row for row in allowed if row[2] >= TARGET_ACCURACY]
    best = enough[0] if enough else max(allowed, key=lambda row: (row[2], row[1]))
    return ThresholdSelection(*best, curve)


def coverage_curve(
    scores: NDArray[np.float64], right: NDArray[np.bool_], steps: int = STEPS
) -> tuple[Row, ...]:
    """Returns what `evaluate_threshold` returns at `steps + 1` thresholds from 0 to 1, rising."""
    return tuple(evaluate_threshold(scores, right, step / steps) for step in range(steps + 1))


def evaluate_threshold(
    scores: NDArray[np.float64], right: NDArray[np.bool_], threshold: float
) -> Row:
    """Measures what is answered when scores under a threshold are called unknown.

    Args:
        scores: Of the predicted classes `(N,) float64`, N at least 1.
        right: Whether each prediction is right `(N,) bool`.
        threshold: Smallest score that is answered, 0 to 1.
    """
    answered = scores >= threshold
    coverage = float(answered.mean())
    return threshold, coverage, float(right[answered].mean()) if coverage else None
