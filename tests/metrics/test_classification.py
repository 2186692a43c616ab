import json
from dataclasses import astuple

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    classification_report,
    f1_score,
)

from boats_metrics.classification import bootstrap, class_table, compute_metrics

CLASSES = ("barca", "gondola", "topa", "vaporetto")


def random_labels(seed: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, 120)
    right = rng.random(120) < 0.6
    return targets, np.where(right, targets, rng.integers(0, classes, 120))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_measure__equals_scikit_learn(seed: int) -> None:
    targets, predicted = random_labels(seed, 4)
    measured = compute_metrics(targets, predicted, CLASSES)
    report = classification_report(targets, predicted, target_names=CLASSES, output_dict=True)
    assert measured.photos == 120
    assert measured.accuracy == pytest.approx(accuracy_score(targets, predicted), abs=1e-12)
    balanced = balanced_accuracy_score(targets, predicted)
    assert measured.balanced_accuracy == pytest.approx(balanced, abs=1e-12)
    assert measured.macro_f1 == pytest.approx(report["macro avg"]["f1-score"], abs=1e-12)
    for row in measured.classes:
        expected = report[row.label]
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
        )


def test_measure__by_hand() -> None:
    measured = compute_metrics(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ("a", "b"))
    assert measured.accuracy == 0.75
    assert [astuple(row) for row in measured.classes] == [
        ("a", 1.0, pytest.approx(2 / 3), pytest.approx(0.8), 3),
        ("b", 0.5, 1.0, pytest.approx(2 / 3), 1),
    ]
    assert measured.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert measured.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_measure__class_absent_from_the_split_and_from_the_predictions() -> None:
    targets, predicted = random_labels(0, 3)
    measured = compute_metrics(targets, predicted, CLASSES)
    assert [row.label for row in measured.classes] == list(CLASSES)
    assert astuple(measured.classes[3]) == ("vaporetto", 0.0, 0.0, 0.0, 0)
    # It does not count: as if there were three classes.
    assert measured.macro_f1 == compute_metrics(targets, predicted, CLASSES[:3]).macro_f1
    assert measured.macro_f1 == pytest.approx(f1_score(targets, predicted, average="macro"))


def test_measure__class_absent_from_the_split_but_predicted() -> None:
    targets, predicted = random_labels(0, 3)
    predicted[:5] = 3
    measured = compute_metrics(targets, predicted, CLASSES)
    assert measured.classes[3].support == 0
    assert measured.macro_f1 == pytest.approx(sum(row.f1 for row in measured.classes) / 4)
    # There is no photo of it to recall.
    recalls = [row.recall for row in measured.classes[:3]]
    assert measured.balanced_accuracy == pytest.approx(sum(recalls) / 3)


def test_measure__class_that_is_never_predicted() -> None:
    targets, predicted = random_labels(0, 4)
    predicted[predicted == 3] = 0
    row = compute_metrics(targets, predicted, CLASSES).classes[3]
    assert (row.precision, row.recall, row.f1) == (0, 0, 0)
    assert row.support == int(np.sum(targets == 3))


def test_to_json__survives_json() -> None:
    value = compute_metrics(*random_labels(0, 4), CLASSES).to_json()
    lists = (
        "accuracy_interval", "balanced_accuracy_interval", "macro_f1_interval", "classes",
    )  # fmt: skip
    assert json.loads(json.dumps(value)) == value | {name: list(value[name]) for name in lists}
    assert set(value) == {
        "accuracy", "accuracy_interval", "balanced_accuracy", "balanced_accuracy_interval",
        "macro_f1", "macro_f1_interval", "photos", "classes",
    }  # fmt: skip
    assert set(value["classes"][0]) == {"label", "precision", "recall", "f1", "support"}


def test_measure__intervals_hold_what_other_samples_give() -> None:
    # Of samples of 120 photos that are right 6 times in 10, 95 % lie around 0.7 within 0.041 * 2.
    measured = compute_metrics(*random_labels(0, 4), CLASSES)
    low, high = measured.accuracy_interval
    assert low < measured.accuracy < high
    deviation = np.sqrt(measured.accuracy * (1 - measured.accuracy) / 120)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert measured.macro_f1_interval[0] < measured.macro_f1 < measured.macro_f1_interval[1]


def test_bootstrap__balanced_accuracy_as_by_drawing_photos() -> None:
    targets, predicted = random_labels(0, 4)
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, 120, 120) for _ in range(1000)]
    values = [balanced_accuracy_score(targets[draw], predicted[draw]) for draw in draws]
    expected = np.percentile(values, [2.5, 97.5])
    assert bootstrap(targets, predicted).balanced_accuracy_interval == pytest.approx(
        tuple(expected), abs=0.015
    )


def test_class_table__a_line_for_each_class() -> None:
    measured = compute_metrics(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ("a", "a long name"))
    assert class_table(measured) == [
        "class        precision  recall     F1  photos",
        "a                1.000   0.667  0.800       3",
        "a long name      0.500   1.000  0.667       1",
    ]
