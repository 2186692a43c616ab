"""Classification metrics: accuracy, balanced accuracy, macro-F1, and the metrics of each class."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

DRAWS = 2000
"""Number of bootstrap samples."""

Interval = tuple[float, float]
"""Lower and upper bound of a 95% confidence interval."""


@dataclass(frozen=True)
class ClassMetrics:
    """Precision, recall and F1 of one class, 0 to 1 or 0 if undefined, and its number of images."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Intervals:
    """95% confidence intervals of the metrics of the same names."""

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of predictions on a set of labeled images.

    Attributes:
        accuracy: Share of correct predictions, 0 to 1.
        balanced_accuracy: Mean recall of the classes that have images, 0 to 1, as in
            `sklearn.metrics.balanced_accuracy_score`.
        macro_f1: Mean F1 of the classes that have images or are predicted, 0 to 1, as in
            `sklearn.metrics.f1_score(average="macro")`.
        classes: Metrics of the K classes.
        confusion: (K, K) int64, confusion matrix; rows are true classes, columns predictions.
        seed: Seed for the bootstrap.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    classes: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64] = field(repr=False, compare=False)
    seed: int = 0

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def recall(self) -> dict[str, float]:
        """Recall of each class that has images, by class name."""
        return {row.label: row.recall for row in self.classes if row.support}

    @cached_property
    def intervals(self) -> Intervals:
        """Bootstrap confidence intervals, computed on first access."""
        return bootstrap_intervals(self.confusion, self.seed)

    def summary_to_json(self) -> dict[str, Any]:
        """Return accuracies, macro-F1 and their intervals as JSON values."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": self.intervals.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_interval": self.intervals.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "macro_f1_interval": self.intervals.macro_f1,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the summary and the metrics of each class as JSON values."""
        classes = [asdict(row) for row in self.classes]
        return self.summary_to_json() | {"photos": self.images, "classes": classes}


def compute_metrics(
    targets: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int = 0,
) -> ClassificationMetrics:
    """Compute the metrics of predictions.

    Args:
        targets: (N,) int64, true class indices; N is at least 1.
        predicted: (N,) int64, predicted class indices.
        classes: K class names.
        seed: Seed for the bootstrap of `ClassificationMetrics.intervals`.
    """
    indices = range(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=indices, zero_division=0
    )
    confusion = confusion_matrix(targets, predicted, labels=indices)
    columns = (column.tolist() for column in (precision, recall, f1, support))
    rows = zip(classes, *columns, strict=True)
    return ClassificationMetrics(
        accuracy=float(np.mean(targets == predicted)),
        balanced_accuracy=float(recall[support > 0].mean()),
        macro_f1=float(f1[(support > 0) | (confusion.sum(axis=0) > 0)].mean()),
        classes=tuple(ClassMetrics(*row) for row in rows),
        confusion=confusion,
        seed=seed,
    )


def bootstrap_intervals(confusion: NDArray[np.int64], seed: int = 0) -> Intervals:
    """Compute 95% confidence intervals by the percentile bootstrap (Efron 1979).

    The bootstrap treats images as independent. Images of one day resemble each other, so the
    results on another day can lie outside the intervals.

    Args:
        confusion: (K, K) int64, confusion matrix; rows are true classes.
        seed: Seed for the random draws.
    """
    occurring = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    cells = confusion[np.ix_(occurring, occurring)]
    images = cells.sum()
    # Resampling images with replacement is a multinomial draw over the cells of the matrix.
    rng = np.random.default_rng(seed)
    samples = rng.multinomial(images, cells.ravel() / images, size=DRAWS)
    samples = samples.reshape(DRAWS, *cells.shape)
    correct = np.diagonal(samples, axis1=1, axis2=2)
    support = samples.sum(axis=2)
    return Intervals(
        percentile_interval(correct.sum(axis=1) / images),
        percentile_interval(mean_ratio(correct, support)),
        percentile_interval(mean_ratio(2 * correct, support + samples.sum(axis=1))),
    )


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """Return the interval that holds the middle 95% of the values."""
    lower, upper = np.percentile(values, [2.5, 97.5])
    return float(lower), float(upper)


def mean_ratio(numerators: NDArray[Any], denominators: NDArray[Any]) -> NDArray[np.float64]:
    """Return the means (D,) of the ratios (D, K) over the classes with a positive denominator."""
    defined = denominators > 0
    ratios = np.divide(numerators, denominators, out=np.zeros(defined.shape), where=defined)
    means: NDArray[np.float64] = ratios.sum(axis=1) / defined.sum(axis=1)
    return means


def format_class_table(metrics: ClassificationMetrics) -> list[str]:
    """Return the lines of a text table with one row per class."""
    width = max(len("class"), *(len(row.label) for row in metrics.classes))
    rows = (
        f"{row.label:{width}}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}"
        f"  {row.support:6d}"
        for row in metrics.classes
    )
    return [f"{'class':{width}}  precision  recall     F1  images", *rows]
