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


@dataclass(frozen=True)
class OperatingPoint:
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
    curve: tuple[tuple[float, float, float | None], ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the operating point as JSON values."""
        return asdict(self)


def choose_operating_point(
    probabilities: NDArray[np.float64], targets: NDArray[np.int64]
) -> OperatingPoint:
    """Chooses the lowest threshold that makes answers right often enough.

    Where no threshold reaches `TARGET_ACCURACY` with `MIN_COVERAGE`, the one with the highest
    accuracy at that coverage is taken.

    Args:
        probabilities: Of held-out photos `(N, K) float64`, N at least 1.
        targets: Their class indices `(N,) int64`.
    """
    scores = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    curve: list[tuple[float, float, float | None]] = []
    allowed: list[tuple[float, float, float]] = []
    for step in range(STEPS + 1):
        threshold = step / STEPS
        answered = scores >= threshold
        coverage = float(answered.mean())
        accuracy = float(right[answered].mean()) if coverage else None
        curve.append((threshold, coverage, accuracy))
        if accuracy is not None and coverage >= MIN_COVERAGE:
            allowed.append((threshold, coverage, accuracy))
    enough = [row for row in allowed if row[2] >= TARGET_ACCURACY]
    best = enough[0] if enough else max(allowed, key=lambda row: (row[2], row[1]))
    return OperatingPoint(*best, tuple(curve))
