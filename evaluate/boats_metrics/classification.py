"""How good a classifier is on a split: accuracies, macro-F1 and each class by itself."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support, recall_score


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
    """A split: accuracies and macro-F1 from 0 to 1 with 95 % intervals (low, high), and each class.

    Balanced accuracy is the mean recall of the classes that occur in the split, as
    `sklearn.metrics.balanced_accuracy_score` has it. Macro-F1 is the mean over the classes that
    occur in the split or were predicted, as `sklearn.metrics.f1_score(average="macro")` has it.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    photos: int
    classes: tuple[ClassMetrics, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the metrics as JSON values."""
        return asdict(self)


def compute_metrics(
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
    bounds = bootstrap(targets, predicted)
    return SplitMetrics(
        bounds.accuracy,
        bounds.accuracy_interval,
        bounds.balanced_accuracy,
        bounds.balanced_accuracy_interval,
        bounds.macro_f1,
        bounds.macro_f1_interval,
        len(targets),
        rows,
    )


@dataclass(frozen=True)
class Intervals:
    """95 % intervals (low, high) of accuracies and macro-F1, beside the values themselves."""

    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]


def bootstrap(
    targets: NDArray[np.int64], predicted: NDArray[np.int64], draws: int = 2000, seed: int = 0
) -> Intervals:
    """Bounds what another sample of such photos would give: the percentile bootstrap (Efron 1979).

    Photos of one day are alike, so that another day may well lie outside.

    Args:
        targets: True class indices `(N,) int64`.
        predicted: Predicted class indices `(N,) int64`.
        draws: How many samples of N photos are drawn.
        seed: Of the draws.
    """
    classes, coded = np.unique(np.concatenate([targets, predicted]), return_inverse=True)
    size, photos = len(classes), len(targets)
    cells = np.bincount(coded[:photos] * size + coded[photos:], minlength=size * size)
    # Drawing photos again is drawing the cells of the confusion matrix by their shares.
    rng = np.random.default_rng(seed)
    tables = rng.multinomial(photos, cells / photos, size=draws).reshape(draws, size, size)
    right = np.diagonal(tables, axis1=1, axis2=2)
    true = tables.sum(axis=2)
    there = np.unique(targets)
    return Intervals(
        float(np.mean(targets == predicted)),
        _middle(right.sum(axis=1) / photos),
        float(recall_score(targets, predicted, labels=there, average="macro", zero_division=0)),
        _middle(_mean_share(right, true)),
        float(f1_score(targets, predicted, average="macro", zero_division=0)),
        _middle(_mean_share(2 * right, true + tables.sum(axis=1))),
    )


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns between which values 95 % lie."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _mean_share(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns each draw's mean share `(draws,)` over its classes whose whole is not empty."""
    shares = np.divide(parts, wholes, out=np.zeros(parts.shape), where=wholes > 0)
    means: NDArray[np.float64] = shares.sum(axis=1) / (wholes > 0).sum(axis=1)
    return means


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
