"""How good a classifier is on a split: accuracy, macro-F1 and each class by itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support


@dataclass(frozen=True)
class ClassMetrics:
    """One class: precision, recall and F1 from 0 to 1, support in photos."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class SplitMetrics:
    """A split: accuracy and macro-F1 from 0 to 1, and each class.

    Macro-F1 is the mean over the classes that occur in the split or were predicted, as
    `sklearn.metrics.f1_score(average="macro")` has it.
    """

    accuracy: float
    macro_f1: float
    photos: int
    classes: tuple[ClassMetrics, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the metrics as JSON values."""
        return asdict(self)


def measure(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> SplitMetrics:
    """Compares predictions with the truth.

    Args:
        targets: True class indices `(N,) int64`, N at least 1.
        predicted: Predicted class indices `(N,) int64`.
        classes: The K class names.
    """
    indices = range(len(classes))
    columns = precision_recall_fscore_support(targets, predicted, labels=indices, zero_division=0)
    rows = tuple(
        ClassMetrics(label, float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(classes, *columns, strict=True)
    )
    macro_f1 = f1_score(targets, predicted, average="macro", zero_division=0)
    return SplitMetrics(float(np.mean(targets == predicted)), float(macro_f1), len(targets), rows)


def class_table(metrics: SplitMetrics) -> list[str]:
    """Returns the lines of a table of the classes."""
    width = max(len("class"), *(len(row.label) for row in metrics.classes))
    lines = [f"{'class':{width}}  precision  recall     F1  photos"]
    lines.extend(
        f"{row.label:{width}}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}"
        f"  {row.support:6d}"
        for row in metrics.classes
    )
    return lines
