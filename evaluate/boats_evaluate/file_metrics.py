"""Metrics of one model file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.groups import find_groups
from boats_evaluate.labeled_images import LabeledImage
from boats_evaluate.predictions import Predictions
from boats_metrics.calibration import Reliability, compute_reliability
from boats_metrics.classification import ClassificationMetrics, compute_metrics
from boats_metrics.selective import CoveragePoint, coverage_curve, evaluate_threshold

MIN_SUPPORT = 5
"""Smallest number of images from which metrics are considered reliable."""

MAX_GROUPS = 100
"""Maximum number of groups with metrics."""


@dataclass(frozen=True)
class Confusion:
    """Incorrect predictions of one class as another.

    Attributes:
        label: True class.
        predicted: Predicted class.
        count: Number of images.
        support: Number of images of the true class.
    """

    label: str
    predicted: str
    count: int
    support: int


@dataclass(frozen=True)
class Groups:
    """Metrics by group.

    Attributes:
        shown: Metrics of the largest groups by name, sorted.
        omitted: Number of smaller groups without metrics.
    """

    shown: dict[str, ClassificationMetrics]
    omitted: int


@dataclass(frozen=True)
class UnknownClass:
    """Predictions for images of a class that the model does not have.

    Attributes:
        label: Name of the class.
        images: Number of images.
        below_threshold: Number of images that the model reports as unknown, which is correct.
        top_prediction: Most frequent predicted class.
    """

    label: str
    images: int
    below_threshold: int
    top_prediction: str


@dataclass(frozen=True)
class FileMetrics:
    """Metrics of one model file.

    Attributes:
        classification: Accuracies, macro-F1, metrics of each class, confusion matrix.
        confusions: Incorrect predictions by true and predicted class, most frequent first.
        reliability: Agreement of scores and accuracy.
        at_threshold: Coverage and selective accuracy at the file's threshold.
        curve: Coverage and selective accuracy at the thresholds 0, 0.01, ..., 1.
    """

    classification: ClassificationMetrics
    confusions: tuple[Confusion, ...]
    reliability: Reliability
    at_threshold: CoveragePoint
    curve: tuple[CoveragePoint, ...]


def compute_file_metrics(
    targets: NDArray[np.int64], predictions: Predictions, labels: Sequence[str], threshold: float
) -> FileMetrics:
    """Compute the metrics of one model.

    Args:
        targets: (N,) int64, true class indices; N is at least 1.
        predictions: Predictions for the N images.
        labels: K class names.
        threshold: Smallest score that is not reported as unknown, 0 to 1.
    """
    scores, correct = predictions.scores, predictions.predicted == targets
    classification = compute_metrics(targets, predictions.predicted, labels)
    return FileMetrics(
        classification=classification,
        confusions=find_confusions(classification.confusion, labels),
        reliability=compute_reliability(scores, correct),
        at_threshold=evaluate_threshold(scores, correct, threshold),
        curve=coverage_curve(scores, correct),
    )


def find_confusions(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[Confusion, ...]:
    """List pairs of true and incorrectly predicted classes, most frequent first, then by name.

    Args:
        confusion: (K, K) int64, confusion matrix; rows are true classes.
        labels: K class names.
    """
    support = confusion.sum(axis=1)
    confusions = [
        Confusion(labels[row], labels[column], int(confusion[row, column]), int(support[row]))
        for row, column in zip(*np.nonzero(confusion), strict=True)
        if row != column
    ]
    return tuple(sorted(confusions, key=lambda c: (-c.count, c.label, c.predicted)))


def compute_group_metrics(
    paths: Sequence[Path],
    pattern: str | None,
    targets: NDArray[np.int64],
    predicted: NDArray[np.int64],
    labels: Sequence[str],
) -> Groups | None:
    """Compute the metrics of each group of images.

    Args:
        paths: N image files.
        pattern: Pattern of the group names, as in `boats_data.groups.find_groups`.
        targets: (N,) int64, true class indices.
        predicted: (N,) int64, predicted class indices.
        labels: K class names.

    Returns:
        The metrics by group; None without a pattern if some file names have no date.

    Raises:
        UsageError: If the pattern is not a regular expression or does not match a file name.
    """
    found = find_groups(paths, pattern)
    if found is None:
        return None
    names, indices, sizes = np.unique(found, return_inverse=True, return_counts=True)
    largest = np.sort(np.argsort(-sizes, kind="stable")[:MAX_GROUPS])
    groups = {
        str(names[group]): compute_metrics(
            targets[indices == group], predicted[indices == group], labels
        )
        for group in largest
    }
    return Groups(groups, len(names) - len(groups))


def summarize_unknown_classes(
    images: Sequence[LabeledImage],
    predictions: Predictions,
    labels: Sequence[str],
    threshold: float,
) -> tuple[UnknownClass, ...]:
    """Summarize the predictions for images of classes that the model does not have.

    Args:
        images: N images.
        predictions: Predictions for the images.
        labels: K class names of the model.
        threshold: Smallest score that is not reported as unknown, 0 to 1.
    """
    rows = []
    for label in sorted({image.label for image in images}):
        chosen = predictions.select(np.array([image.label == label for image in images]))
        ((top, _),) = Counter(chosen.predicted.tolist()).most_common(1)
        below = int((chosen.scores < threshold).sum())
        rows.append(UnknownClass(label, len(chosen.scores), below, labels[top]))
    return tuple(rows)
