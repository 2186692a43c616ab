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
    """Number of images of a class, of `support` images, that are predicted as another class."""

    label: str
    predicted: str
    count: int
    support: int


@dataclass(frozen=True)
class Groups:
    """Metrics of the largest groups by name, sorted, and the number of smaller groups."""

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
    targets: NDArray[np.int64],
    predictions: Predictions,
    labels: Sequence[str],
    threshold: float,
    groups: NDArray[np.int64] | None = None,
) -> FileMetrics:
    """Compute the metrics of one model.

    Args:
        targets: (N,) int64, true class indices; N is at least 1.
        predictions: Predictions for the N images.
        labels: K class names.
        threshold: Smallest score that is not reported as unknown, 0 to 1.
        groups: (N,) int64, group of each image; None without groups.
    """
    scores, correct = predictions.scores, predictions.predicted == targets
    classification = compute_metrics(targets, predictions.predicted, labels, groups=groups)
    return FileMetrics(
        classification=classification,
        confusions=find_confusions(classification.confusion, labels),
        reliability=compute_reliability(scores, correct),
        at_threshold=evaluate_threshold(scores, correct, threshold),
        curve=coverage_curve(scores, correct),
    )


def find_confusions(confusion: NDArray[np.int64], labels: Sequence[str]) -> tuple[Confusion, ...]:
    """List the confusions in a (K, K) confusion matrix, most frequent first, then by name."""
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
    """Compute the metrics of each group of images; None without groups.

    Args:
        paths: N image files.
        pattern: Pattern of the group names, as in `boats_data.groups.find_groups`.
        targets: (N,) int64, true class indices.
        predicted: (N,) int64, predicted class indices.
        labels: K class names.

    Raises:
        UsageError: If the pattern is not a regular expression or does not match a file name.
    """
    found = find_groups(paths, pattern)
    if found is None:
        return None
    names, indices, sizes = np.unique(found, return_inverse=True, return_counts=True)
    largest = np.sort(np.argsort(-sizes, kind="stable")[:MAX_GROUPS])
    shown = {}
    for group in largest:
        rows = indices == group
        shown[str(names[group])] = compute_metrics(targets[rows], predicted[rows], labels)
    return Groups(shown, len(names) - len(shown))


def summarize_unknown_classes(
    images: Sequence[LabeledImage],
    predictions: Predictions,
    labels: Sequence[str],
    threshold: float,
) -> tuple[UnknownClass, ...]:
    """Summarize the predictions for images of classes that are not among the model's labels."""
    rows = []
    for label in sorted({image.label for image in images}):
        chosen = predictions.select(np.array([image.label == label for image in images]))
        ((top, _),) = Counter(chosen.predicted.tolist()).most_common(1)
        below = int((chosen.scores < threshold).sum())
        rows.append(UnknownClass(label, len(chosen.scores), below, labels[top]))
    return tuple(rows)
