from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.file_metrics import (
    MAX_GROUPS,
    UnknownClass,
    compute_file_metrics,
    compute_group_metrics,
    find_confusions,
    summarize_unknown_classes,
)
from boats_evaluate.labeled_images import LabeledImage
from boats_evaluate.predictions import Predictions
from boats_runtime.errors import UsageError


def test_compute_file_metrics__threshold_and_curve() -> None:
    targets = np.array([0, 1, 1, 1])
    predictions = Predictions(np.array([0, 0, 1, 1]), np.array([0.9, 0.8, 0.79, 0.3]))
    metrics = compute_file_metrics(targets, predictions, ("a", "b"), 0.79)
    assert metrics.classification.accuracy == accuracy_score(targets, predictions.predicted)
    assert metrics.at_threshold == (0.79, 0.75, pytest.approx(2 / 3))
    assert metrics.curve[79] == metrics.at_threshold
    # Errors of the bins: 0.3 and 0.79 are correct, 0.8 is not, 0.9 is.
    expected = (0.7 + 0.21 + 0.8 + 0.1) / 4
    assert metrics.reliability.calibration_error == pytest.approx(expected)


def test_find_confusions__most_frequent_first() -> None:
    confusion = np.array([[5, 1, 2], [0, 4, 1], [2, 0, 0]])
    rows = find_confusions(confusion, ("a", "b", "c"))
    assert [(row.label, row.predicted, row.count, row.support) for row in rows] == [
        ("a", "c", 2, 8), ("c", "a", 2, 2), ("a", "b", 1, 8), ("b", "c", 1, 5),
    ]  # fmt: skip


def test_compute_group_metrics__dates_by_default(evaluation: Evaluation) -> None:
    assert evaluation.groups
    assert list(evaluation.groups.shown) == ["20130304", "20130305"]
    first, second = evaluation.groups.shown.values()
    assert (first.images, second.images) == (11, 9)
    correct = 11 * first.accuracy + 9 * second.accuracy
    assert correct == pytest.approx(evaluation.correct.sum())


def test_compute_group_metrics__pattern() -> None:
    targets = np.zeros(3, np.int64)
    paths = [Path("cam1-a.jpg"), Path("cam2-a.jpg"), Path("cam1-b.jpg")]
    assert compute_group_metrics(paths, None, targets, targets, ("a", "b")) is None
    groups = compute_group_metrics(paths, r"cam\d", targets, targets, ("a", "b"))
    assert groups
    assert {name: row.images for name, row in groups.shown.items()} == {"cam1": 2, "cam2": 1}
    with pytest.raises(UsageError, match="does not match"):
        compute_group_metrics(paths, r"dog\d", targets, targets, ("a", "b"))


def test_compute_group_metrics__only_the_largest() -> None:
    paths = [Path(f"{group}-{n}.jpg") for group in range(150) for n in range(1 + group % 2)]
    targets = np.zeros(len(paths), np.int64)
    groups = compute_group_metrics(paths, r"^\d+", targets, targets, ("a", "b"))
    assert groups
    assert (len(groups.shown), groups.omitted) == (MAX_GROUPS, 50)
    assert sum(row.images for row in groups.shown.values()) == 2 * 75 + 25


def test_summarize_unknown_classes__by_hand() -> None:
    images = [LabeledImage(Path("1.jpg"), label) for label in ("raft", *["canoe"] * 3)]
    predictions = Predictions(np.array([2, 0, 1, 1]), np.array([0.9, 0.49, 0.5, 0.1]))
    assert summarize_unknown_classes(images, predictions, ("a", "b", "c"), 0.5) == (
        UnknownClass("canoe", 3, 2, "b"),
        UnknownClass("raft", 1, 0, "c"),
    )
