"""What is counted for one file: the numbers of training, on what the shipped file says."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.groups import find_groups
from boats_evaluate.predictions import Answers
from boats_metrics.calibration import Reliability, compute_reliability
from boats_metrics.classification import ClassificationMetrics, compute_metrics
from boats_metrics.selective import CoveragePoint, coverage_curve, evaluate_threshold

CLAIMABLE = 5
"""Of a class with fewer photos no number means anything."""

MAX_GROUPS = 100
"""Groups that are measured: the largest ones."""


@dataclass(frozen=True)
class Confusion:
    """A class that was taken for another: how often, and how many photos it has."""

    label: str
    predicted: str
    count: int
    support: int


@dataclass(frozen=True)
class Group:
    """Photos that belong together, as those of one day.

    Attributes:
        name: As read from the file names.
        metrics: On its photos.
    """

    name: str
    metrics: ClassificationMetrics


@dataclass(frozen=True)
class Groups:
    """The groups by name, and how many smaller ones there are beside them."""

    shown: tuple[Group, ...]
    left_out: int


@dataclass(frozen=True)
class Measures:
    """How good a file is.

    Attributes:
        metrics: Accuracies, macro-F1 and each class.
        counts: Confusion matrix `(K, K) int64`, a row for each true class.
        confusions: What was taken for what, the most frequent first.
        reliability: Whether the scores mean what they say.
        point: Threshold, coverage and accuracy of what is answered.
        curve: The same at each hundredth.
    """

    metrics: ClassificationMetrics
    counts: NDArray[np.int64]
    confusions: tuple[Confusion, ...]
    reliability: Reliability
    point: CoveragePoint
    curve: tuple[CoveragePoint, ...]


def measure_answers(
    targets: NDArray[np.int64], answers: Answers, labels: Sequence[str], threshold: float
) -> Measures:
    """Counts what a file got right.

    Args:
        targets: True class indices `(N,) int64`, N at least 1.
        answers: Of the file.
        labels: The K class names.
        threshold: Scores under it are called unknown, 0 to 1.
    """
    size = len(labels)
    right = answers.predicted == targets
    cells = np.bincount(targets * size + answers.predicted, minlength=size * size)
    counts = cells.reshape(size, size).astype(np.int64)
    return Measures(
        compute_metrics(targets, answers.predicted, labels),
        counts,
        find_confusions(counts, labels),
        compute_reliability(answers.scores, right),
        evaluate_threshold(answers.scores, right, threshold),
        coverage_curve(answers.scores, right),
    )


def find_confusions(counts: NDArray[np.int64], labels: Sequence[str]) -> tuple[Confusion, ...]:
    """Lists what was taken for what: the most frequent first, then by name.

    Args:
        counts: Confusion matrix `(K, K) int64`, a row for each true class.
        labels: The K class names.
    """
    support = counts.sum(axis=1)
    found = [
        Confusion(labels[row], labels[column], int(counts[row, column]), int(support[row]))
        for row, column in zip(*np.nonzero(counts), strict=True)
        if row != column
    ]
    return tuple(sorted(found, key=lambda one: (-one.count, one.label, one.predicted)))


def measure_groups(
    paths: Sequence[Path],
    pattern: str | None,
    targets: NDArray[np.int64],
    predicted: NDArray[np.int64],
    labels: Sequence[str],
) -> Groups | None:
    """Measures each group of photos by itself; groups are found as in training.

    Args:
        paths: The photos, N of them.
        pattern: As `boats_train.svm.folds.find_groups` takes it.
        targets: True class indices `(N,) int64`.
        predicted: Predicted class indices `(N,) int64`.
        labels: The class names.

    Returns:
        None when no pattern was given and not every name has a date.

    Raises:
        UsageError: The pattern is no regular expression, or does not match every file name.
    """
    found = find_groups(paths, pattern)
    if found is None:
        return None
    names, index, sizes = np.unique(found, return_inverse=True, return_counts=True)
    largest = np.sort(np.argsort(-sizes, kind="stable")[:MAX_GROUPS])
    groups = []
    for number in largest:
        inside = index == number
        metrics = compute_metrics(targets[inside], predicted[inside], labels)
        groups.append(Group(str(names[number]), metrics))
    return Groups(tuple(groups), len(names) - len(groups))
