"""Accuracy check: the loss on the validation images that an fp16 or int8 file is allowed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from boats_metrics.classification import compute_metrics
from boats_runtime.errors import CheckError

MAX_DROP = 0.5
"""Default for the largest loss of accuracy, in percentage points; of macro-F1 twice as much."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of the labels of a model.

    Attributes:
        accuracy: Share of correct labels, 0 to 1.
        macro_f1: Mean F1 of the classes that have images or are predicted, 0 to 1.
        recall: Recall of each class that has images, 0 to 1, by class name.
    """

    accuracy: float
    macro_f1: float
    recall: Mapping[str, float]

    @classmethod
    def compute(
        cls, targets: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]
    ) -> Self:
        """Compare labels with the truth.

        Args:
            targets: (N,) int64, true class indices.
            labels: (N,) int64, predicted class indices.
            classes: K class names.
        """
        metrics = compute_metrics(targets, labels, classes)
        return cls(metrics.accuracy, metrics.macro_f1, metrics.recall)

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        return asdict(self)


def require_accuracy(
    before: Accuracy,
    after: Accuracy,
    max_drop: float | None = None,
    *,
    allow_lost_classes: bool = False,
) -> None:
    """Check that an fp16 or int8 file is nearly as accurate as the float32 model.

    Args:
        before: Accuracy of the float32 model.
        after: Accuracy of the file.
        max_drop: Largest loss of accuracy in percentage points; of macro-F1 twice as much. None for
            `MAX_DROP`.
        allow_lost_classes: Whether the recall of a class may fall to 0.

    Raises:
        CheckError: If the file loses more.
    """
    allowed = MAX_DROP if max_drop is None else max_drop
    losses = [
        f"{name} {value:.3f} instead of {reference:.3f}"
        for name, reference, value, points in (
            ("accuracy", before.accuracy, after.accuracy, allowed),
            ("macro-F1", before.macro_f1, after.macro_f1, 2 * allowed),
        )
        if not 100 * (reference - value) <= points + 1e-9  # also True for NaN
    ]
    remedies = ["a larger --max-drop allows more"] if losses else []
    lost_classes = [
        name for name, recall in before.recall.items() if recall and not after.recall[name]
    ]
    if lost_classes and not allow_lost_classes:
        losses.append(f"no image of {', '.join(lost_classes)} is recognized any more")
        remedies.append("--allow-lost-classes accepts it")
    if losses:
        raise CheckError(
            f"accuracy loss is too large: {'; '.join(losses)} (allowed: {allowed:g} points of "
            f"accuracy, {2 * allowed:g} of macro-F1); no file was written; {', '.join(remedies)}"
        )
