import json
from dataclasses import astuple

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    classification_report,
    confusion_matrix,
    f1_score,
)

from boats_metrics.classification import compute_metrics, format_class_table

CLASSES = ("barca", "gondola", "topa", "vaporetto")


def random_predictions(seed: int, classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return targets and predictions of 120 images, about 60% correct."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, 120)
    correct = rng.random(120) < 0.6
    return targets, np.where(correct, targets, rng.integers(0, classes, 120))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_compute_metrics__equals_scikit_learn(seed: int) -> None:
    targets, predicted = random_predictions(seed, 4)
    metrics = compute_metrics(targets, predicted, CLASSES)
    assert metrics.images == 120
    assert np.array_equal(metrics.confusion, confusion_matrix(targets, predicted))
    assert metrics.accuracy == pytest.approx(accuracy_score(targets, predicted), abs=1e-12)
    balanced = balanced_accuracy_score(targets, predicted)
    assert metrics.balanced_accuracy == pytest.approx(balanced, abs=1e-12)
    macro_f1 = f1_score(targets, predicted, average="macro")
    assert metrics.macro_f1 == pytest.approx(macro_f1, abs=1e-12)
    report = classification_report(targets, predicted, target_names=CLASSES, output_dict=True)
    for row in metrics.classes:
        expected = report[row.label]
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
        )


def test_compute_metrics__class_without_images_and_predictions_is_ignored() -> None:
    targets, predicted = random_predictions(0, 3)
    metrics = compute_metrics(targets, predicted, CLASSES)
    assert astuple(metrics.classes[3]) == ("vaporetto", 0.0, 0.0, 0.0, 0, None)
    without = compute_metrics(targets, predicted, CLASSES[:3])
    assert (metrics.macro_f1, metrics.intervals) == (without.macro_f1, without.intervals)
    assert list(metrics.recall) == list(CLASSES[:3])


def test_compute_metrics__predicted_class_without_images_lowers_macro_f1_alone() -> None:
    targets, predicted = random_predictions(0, 3)
    predicted[:5] = 3
    metrics = compute_metrics(targets, predicted, CLASSES)
    assert metrics.macro_f1 == pytest.approx(sum(row.f1 for row in metrics.classes) / 4)
    assert metrics.balanced_accuracy == pytest.approx(sum(metrics.recall.values()) / 3)
    assert list(metrics.recall) == list(CLASSES[:3])


def test_compute_metrics__class_that_is_never_predicted() -> None:
    targets, predicted = random_predictions(0, 4)
    predicted[predicted == 3] = 0
    row = compute_metrics(targets, predicted, CLASSES).classes[3]
    assert (row.precision, row.recall, row.f1) == (0, 0, 0)
    assert row.support == int(np.sum(targets == 3))


def test_to_json__keys() -> None:
    value = json.loads(json.dumps(compute_metrics(*random_predictions(0, 4), CLASSES).to_json()))
    assert list(value) == [
        "accuracy", "accuracy_interval", "balanced_accuracy", "balanced_accuracy_interval",
        "macro_f1", "macro_f1_interval", "interval_unit", "interval_groups", "photos", "classes",
    ]  # fmt: skip
    assert list(value["classes"][0]) == [
        "label", "precision", "recall", "f1", "support", "groups",
    ]  # fmt: skip
    assert (value["interval_unit"], value["interval_groups"]) == ("images", None)


def test_intervals__width_of_the_accuracy_interval() -> None:
    metrics = compute_metrics(*random_predictions(0, 4), CLASSES)
    low, high = metrics.intervals.accuracy
    assert low < metrics.accuracy < high
    deviation = np.sqrt(metrics.accuracy * (1 - metrics.accuracy) / 120)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1"])
def test_intervals__equal_to_resampling_images(name: str) -> None:
    targets, predicted = random_predictions(0, 4)
    rng = np.random.default_rng(1)
    samples = [rng.integers(0, 120, 120) for _ in range(400)]
    metrics = (compute_metrics(targets[rows], predicted[rows], CLASSES) for rows in samples)
    expected = np.percentile([getattr(sample, name) for sample in metrics], [2.5, 97.5])
    interval = getattr(compute_metrics(targets, predicted, CLASSES).intervals, name)
    assert interval == pytest.approx(tuple(expected), abs=0.015)


def test_compute_metrics__groups_of_a_class() -> None:
    targets = np.array([0, 0, 1, 1, 2])
    metrics = compute_metrics(targets, targets, CLASSES, groups=["1", "2", "2", "2", "1"])
    assert [row.groups for row in metrics.classes] == [2, 1, 1, 0]
    assert metrics.one_group_classes == ("gondola", "topa")
    assert compute_metrics(targets, targets, CLASSES).one_group_classes == ()
    assert compute_metrics(targets, targets, CLASSES, groups=["1"] * 5).one_group_classes == ()


def test_intervals__contain_those_of_images() -> None:
    targets, predicted = random_predictions(0, 4)
    images = compute_metrics(targets, predicted, CLASSES).intervals
    groups = compute_metrics(targets, predicted, CLASSES, groups=np.arange(120) % 6).intervals
    assert (images.unit, images.groups) == ("images", None)
    assert (groups.unit, groups.groups) == ("groups", 6)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = getattr(images, name)
        assert 0 <= getattr(groups, name)[0] <= low < high <= getattr(groups, name)[1] <= 1


def test_intervals__of_a_single_group_are_those_of_images() -> None:
    targets, predicted = random_predictions(0, 4)
    images = compute_metrics(targets, predicted, CLASSES).intervals
    single = compute_metrics(targets, predicted, CLASSES, groups=["monday"] * 120).intervals
    assert (single.unit, single.groups) == ("images", 1)
    assert single.accuracy == images.accuracy


@pytest.mark.parametrize(
    ("classes", "images"),
    [
        pytest.param(2, 40, id="two classes"),
        pytest.param(120, 600, id="120 classes"),
        pytest.param(120, 120, id="one image per class"),
        pytest.param(2, 2, id="two images"),
    ],
)
@pytest.mark.parametrize("groups", [None, 2, 5])
@pytest.mark.parametrize("share", [0, 0.7, 1])
def test_intervals__small_data_sets(
    classes: int, images: int, groups: int | None, share: float
) -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(images) % classes
    predicted = np.where(rng.random(images) < share, targets, (targets + 1) % classes)
    names = [str(number) for number in range(classes)]
    numbers = None if groups is None else np.arange(images) // 2 % groups
    metrics = compute_metrics(targets, predicted, names, groups=numbers)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        low, high = getattr(metrics.intervals, name)
        assert 0 <= low <= high <= 1
        # Samples without some classes have a smaller macro-F1, so it can lie outside its interval.
        assert name != "accuracy" or low <= metrics.accuracy <= high


def test_format_class_table__one_line_per_class() -> None:
    metrics = compute_metrics(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ("a", "a long name"))
    assert format_class_table(metrics) == [
        "class        precision  recall     F1  images",
        "a                1.000   0.667  0.800       3",
        "a long name      0.500   1.000  0.667       1",
    ]
