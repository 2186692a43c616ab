import numpy as np
import pytest
from sklearn.metrics import f1_score

from boats_metrics.paired import compare_paired, correct_holm, mcnemar_test


def test_mcnemar_test__by_hand() -> None:
    # The models disagree on 6 images; 7 of 64 outcomes are at least as bad as 5 to 1.
    first = np.repeat([True, False, True, False], [5, 1, 20, 3])
    second = np.repeat([False, True, True, False], [5, 1, 20, 3])
    result = mcnemar_test(first, second)
    assert (result.lost, result.won) == (5, 1)
    assert result.p_worse == pytest.approx(7 / 64)
    assert result.p_two_sided == pytest.approx(14 / 64)
    assert mcnemar_test(second, first).p_worse == pytest.approx(63 / 64)


def test_mcnemar_test__equal_predictions() -> None:
    correct = np.repeat([True, False], [9, 2])
    result = mcnemar_test(correct, correct)
    assert (result.lost, result.won, result.p_two_sided, result.p_worse) == (0, 0, 1.0, 1.0)


def test_compare_paired__equal_to_resampling_images() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 4, 150)
    first, second = (
        np.where(rng.random(150) < share, targets, rng.integers(0, 4, 150)) for share in (0.8, 0.7)
    )
    comparison = compare_paired(targets, first, second)
    before, after = (f1_score(targets, labels, average="macro") for labels in (first, second))
    assert comparison.macro_f1_before == pytest.approx(before, abs=1e-12)
    assert comparison.macro_f1 == pytest.approx(after - before, abs=1e-12)
    accuracy = np.mean(second == targets) - np.mean(first == targets)
    assert comparison.accuracy == pytest.approx(accuracy)
    low, high = comparison.accuracy_interval
    assert low < comparison.accuracy < high
    samples = [rng.integers(0, 150, 150) for _ in range(600)]
    differences = [
        f1_score(targets[rows], second[rows], average="macro")
        - f1_score(targets[rows], first[rows], average="macro")
        for rows in samples
    ]
    expected = tuple(np.percentile(differences, [2.5, 97.5]))
    assert comparison.macro_f1_interval == pytest.approx(expected, abs=0.02)
    p_worse = np.mean(np.array(differences) >= 0)
    assert comparison.p_macro_f1_worse == pytest.approx(p_worse, abs=0.03)


def test_compare_paired__equal_predictions() -> None:
    targets = np.array([0, 1, 2, 2])
    comparison = compare_paired(targets, targets, targets)
    assert (comparison.accuracy, comparison.macro_f1, comparison.p_macro_f1_worse) == (0, 0, 1)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.6, 0.9], [1.0, 1.0]),
        ([], []),
    ],
)
def test_correct_holm__by_hand(p_values: list[float], expected: list[float]) -> None:
    assert correct_holm(p_values) == pytest.approx(expected)


def test_compare_paired__losses_on_one_day_are_weaker_evidence() -> None:
    targets = np.arange(400) % 4
    second = targets.copy()
    second[:20] = (second[:20] + 1) % 4
    images = compare_paired(targets, targets, second)
    days = compare_paired(targets, targets, second, groups=np.arange(400) // 80)
    assert (images.interval_unit, images.interval_groups) == ("images", None)
    assert (days.interval_unit, days.interval_groups) == ("groups", 5)
    assert (days.lost, days.accuracy, days.macro_f1) == (20, images.accuracy, images.macro_f1)
    assert max(images.p_worse, images.p_two_sided, images.p_macro_f1_worse) < 0.001
    assert min(days.p_worse, days.p_two_sided, days.p_macro_f1_worse) > 0.1
    assert days.accuracy_interval[0] < images.accuracy_interval[0]
    assert days.accuracy_interval[1] > 0


def test_compare_paired__a_single_group_is_no_group() -> None:
    targets, second = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1])
    comparison = compare_paired(targets, targets, second, groups=["a"] * 4)
    assert (comparison.interval_unit, comparison.interval_groups) == ("images", 1)
