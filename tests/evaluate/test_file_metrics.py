from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.file_metrics import MAX_GROUPS, find_confusions, measure_answers, measure_groups
from boats_evaluate.predictions import Answers
from boats_runtime.errors import UsageError

LABELS = ("a", "b", "c", "d")


@pytest.mark.parametrize("seed", [0, 1])
def test_measure_answers__equals_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 4, 200)
    predicted = np.where(rng.random(200) < 0.7, targets, rng.integers(0, 4, 200))
    measures = measure_answers(targets, Answers(predicted, rng.random(200)), LABELS, 0.5)
    metrics = measures.metrics
    assert metrics.accuracy == pytest.approx(accuracy_score(targets, predicted), abs=1e-12)
    expected = balanced_accuracy_score(targets, predicted)
    assert metrics.balanced_accuracy == pytest.approx(expected, abs=1e-12)
    expected = f1_score(targets, predicted, average="macro")
    assert metrics.macro_f1 == pytest.approx(expected, abs=1e-12)
    columns = precision_recall_fscore_support(targets, predicted)
    for row, values in zip(metrics.classes, zip(*columns, strict=True), strict=True):
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(values)
    assert np.array_equal(measures.counts, confusion_matrix(targets, predicted))


def test_measure_answers__at_the_threshold() -> None:
    answers = Answers(np.array([0, 0, 1, 1]), np.array([0.9, 0.8, 0.79, 0.3]))
    measures = measure_answers(np.array([0, 1, 1, 1]), answers, ("a", "b"), 0.79)
    assert measures.point == (0.79, 0.75, pytest.approx(2 / 3))
    assert measures.curve[79] == measures.point
    assert measures.reliability.calibration_error > 0


def test_find_confusions__the_most_frequent_first() -> None:
    counts = np.array([[5, 1, 2], [0, 4, 1], [2, 0, 0]])
    found = find_confusions(counts, ("a", "b", "c"))
    assert [(one.label, one.predicted, one.count, one.support) for one in found] == [
        ("a", "c", 2, 8), ("c", "a", 2, 2), ("a", "b", 1, 8), ("b", "c", 1, 5),
    ]  # fmt: skip


def test_measure_groups__days_as_in_training(evaluated: Evaluation) -> None:
    assert evaluated.groups
    first, second = evaluated.groups.shown
    assert (first.name, second.name) == ("20130304", "20130305")
    assert (first.metrics.images, second.metrics.images) == (11, 9)
    both = 11 * first.metrics.accuracy + 9 * second.metrics.accuracy
    assert both == pytest.approx(20 * evaluated.main.measures.metrics.accuracy)


def test_measure_groups__patterns() -> None:
    targets = np.zeros(3, np.int64)
    paths = [Path("cam1-a.jpg"), Path("cam2-a.jpg"), Path("cam1-b.jpg")]
    assert measure_groups(paths, None, targets, targets, ("a", "b")) is None
    groups = measure_groups(paths, r"cam\d", targets, targets, ("a", "b"))
    assert groups
    assert [(group.name, group.metrics.images) for group in groups.shown] == [
        ("cam1", 2), ("cam2", 1),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="does not match"):
        measure_groups(paths, r"dog\d", targets, targets, ("a", "b"))


def test_measure_groups__only_the_largest() -> None:
    names = [f"{number}-{photo}.jpg" for number in range(150) for photo in range(1 + number % 2)]
    targets = np.zeros(len(names), np.int64)
    groups = measure_groups([Path(name) for name in names], r"^\d+", targets, targets, ("a", "b"))
    assert groups
    assert (len(groups.shown), groups.left_out) == (MAX_GROUPS, 50)
    assert sum(group.metrics.images for group in groups.shown) == 2 * 75 + 25
