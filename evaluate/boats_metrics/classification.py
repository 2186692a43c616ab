"""Classification metrics: accuracy, balanced accuracy, macro-F1, and the metrics of each class."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from boats_metrics.counts import PredictionCounts, count_predictions
from boats_metrics.jackknife import Groups, Interval, Jackknife, combine, index_groups

DRAWS = 2000
"""Number of bootstrap samples."""


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class.

    Precision, recall and F1 are 0 to 1, or 0 if undefined; `support` is the number of images and
    `groups` the number of groups that have images of the class, None without groups.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    groups: int | None = None


@dataclass(frozen=True)
class Intervals:
    """95% confidence intervals of the metrics of the same names.

    Attributes:
        unit: What is taken as independent: `groups`, or `images` with fewer than two groups.
        groups: Number of groups; None if the images have no groups.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    unit: str = "images"
    groups: int | None = None


@dataclass(frozen=True)
class GroupedPredictions:
    """Class indices and groups of N images.

    Attributes:
        targets: (N,) int64, true class indices.
        predicted: (N,) int64, predicted class indices.
        groups: (N,) int64, groups, 0 to G - 1.
        sizes: (G,) int64, number of images of each group.
    """

    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    groups: NDArray[np.int64]
    sizes: NDArray[np.int64]


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
        grouped: The predictions with their groups; None if the images have no groups.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    classes: tuple[ClassMetrics, ...]
    confusion: NDArray[np.int64] = field(repr=False, compare=False)
    seed: int = 0
    grouped: GroupedPredictions | None = field(default=None, repr=False, compare=False)

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def recall(self) -> dict[str, float]:
        """Recall of each class that has images, by class name."""
        return {row.label: row.recall for row in self.classes if row.support}

    @property
    def one_group_classes(self) -> tuple[str, ...]:
        """Classes whose images are all of one group, although there are several groups."""
        if self.grouped is None or len(self.grouped.sizes) < 2:
            return ()
        return tuple(row.label for row in self.classes if row.groups == 1)

    @cached_property
    def intervals(self) -> Intervals:
        """Confidence intervals, computed on first access."""
        intervals = bootstrap_intervals(self.confusion, self.seed)
        return intervals if self.grouped is None else widen_to_groups(intervals, self.grouped)

    def summary_to_json(self) -> dict[str, Any]:
        """Return accuracies, macro-F1 and their intervals as JSON values."""
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": self.intervals.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_interval": self.intervals.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "macro_f1_interval": self.intervals.macro_f1,
            "interval_unit": self.intervals.unit,
            "interval_groups": self.intervals.groups,
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
    groups: Groups | None = None,
) -> ClassificationMetrics:
    """Compute the metrics of predictions.

    Args:
        targets: (N,) int64, true class indices; N is at least 1.
        predicted: (N,) int64, predicted class indices.
        classes: K class names.
        seed: Seed for the bootstrap of `ClassificationMetrics.intervals`.
        groups: N groups of images that resemble each other, such as those of one day.
    """
    indices = range(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=indices, zero_division=0
    )
    confusion = confusion_matrix(targets, predicted, labels=indices)
    columns = [column.tolist() for column in (precision, recall, f1, support)]
    grouped = None
    if groups is not None:
        grouped = GroupedPredictions(targets, predicted, *index_groups(groups))
        width = len(grouped.sizes)
        occurring = np.unique(targets * width + grouped.groups) // width
        columns.append(np.bincount(occurring, minlength=len(classes)).tolist())
    rows = zip(classes, *columns, strict=True)
    return ClassificationMetrics(
        accuracy=float(np.mean(targets == predicted)),
        balanced_accuracy=float(recall[support > 0].mean()),
        macro_f1=float(f1[(support > 0) | (confusion.sum(axis=0) > 0)].mean()),
        classes=tuple(ClassMetrics(*row) for row in rows),
        confusion=confusion,
        seed=seed,
        grouped=grouped,
    )


def bootstrap_intervals(confusion: NDArray[np.int64], seed: int = 0) -> Intervals:
    """Compute 95% confidence intervals by the percentile bootstrap (Efron 1979, Ann Statist 7:1).

    The bootstrap treats images as independent. Images of one day resemble each other, so the
    results on another day can lie outside the intervals.

    Args:
        confusion: (K, K) int64, confusion matrix; rows are true classes.
        seed: Seed for the random draws.
    """
    targets, predicted = np.nonzero(confusion)
    counts = PredictionCounts(targets, predicted[np.newaxis], confusion[targets, predicted])
    samples = counts.bootstrap(DRAWS, seed)[:, 0]
    accuracy, balanced_accuracy, macro_f1 = map(percentile_interval, samples.T)
    return Intervals(accuracy, balanced_accuracy, macro_f1)


def widen_to_groups(intervals: Intervals, images: GroupedPredictions) -> Intervals:
    """Return intervals for other groups: those of the jackknife over groups and those given.

    With a single group nothing is known about others, and the intervals are returned as they are.
    """
    groups = len(images.sizes)
    if groups < 2:
        return replace(intervals, groups=groups)
    counts, cells = count_predictions(images.targets, images.predicted)
    values, left_out = counts.compute()[0], counts.leave_one_out(cells, images.groups)[:, 0]
    given = intervals.accuracy, intervals.balanced_accuracy, intervals.macro_f1
    accuracy, balanced_accuracy, macro_f1 = (
        combine(Jackknife(float(value), column, images.sizes).share_interval(), interval)
        for value, column, interval in zip(values, left_out.T, given, strict=True)
    )
    return Intervals(accuracy, balanced_accuracy, macro_f1, "groups", groups)


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """Return the interval that holds the middle 95% of the values."""
    lower, upper = np.percentile(values, [2.5, 97.5])
    return float(lower), float(upper)


def format_class_table(metrics: ClassificationMetrics) -> list[str]:
    """Return the lines of a text table with one row per class."""
    width = max(len("class"), *(len(row.label) for row in metrics.classes))
    rows = (
        f"{row.label:{width}}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f1:5.3f}"
        f"  {row.support:6d}"
        for row in metrics.classes
    )
    return [f"{'class':{width}}  precision  recall     F1  images", *rows]
