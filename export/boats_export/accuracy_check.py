"""The gate: what a smaller file may lose on the valid photos."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score

from boats_runtime.errors import CheckError

MAX_DROP = 0.5
"""Points of accuracy that may be lost by default; of macro-F1, twice as many."""


@dataclass(frozen=True)
class Accuracy:
    """How good labels are.

    Attributes:
        accuracy: 0 to 1.
        macro_f1: Over the classes that occur or were predicted, 0 to 1.
        recall: Of each class that occurs, 0 to 1.
    """

    accuracy: float
    macro_f1: float
    recall: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return asdict(self)


def measure_accuracy(
    targets: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]
) -> Accuracy:
    """Compares labels with the truth, both class indices `(N,) int64`."""
    there = np.unique(targets)
    recalls = recall_score(targets, labels, labels=there, average=None, zero_division=0)
    return Accuracy(
        float(np.mean(targets == labels)),
        float(f1_score(targets, labels, average="macro", zero_division=0)),
        {classes[index]: float(recall) for index, recall in zip(there, recalls, strict=True)},
    )


def require_accuracy(before: Accuracy, after: Accuracy, max_drop: float | None) -> None:
    """Lets a smaller file through only if it is nearly as good as the original.

    Args:
        before: Of the original in float32.
        after: Of the file.
        max_drop: Points of accuracy that may be lost, and half the points of macro-F1. None allows
            `MAX_DROP`, and no class that was recognised may die.

    Raises:
        CheckError: More is lost; says what.
    """
    allowed = MAX_DROP if max_drop is None else max_drop
    lost = [
        f"{name} {mine:.3f} instead of {its:.3f}"
        for name, its, mine, points in (
            ("accuracy", before.accuracy, after.accuracy, allowed),
            ("macro-F1", before.macro_f1, after.macro_f1, 2 * allowed),
        )
        if not 100 * (its - mine) <= points + 1e-9
    ]
    dead = [name for name, recall in before.recall.items() if recall and not after.recall[name]]
    if max_drop is None and dead:
        lost.append(f"no photo of {', '.join(dead)} is recognised any more")
    if lost:
        raise CheckError(
            f"too much is lost: {'; '.join(lost)} (allowed: {allowed:g} points of accuracy, "
            f"{2 * allowed:g} of macro-F1); no file was written; --max-drop POINTS allows more"
        )
