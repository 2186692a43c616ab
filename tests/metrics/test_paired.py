import numpy as np
import pytest
from sklearn.metrics import f1_score

from boats_metrics.paired import bootstrap_change, correct_holm, mcnemar_test


def right(*blocks: tuple[bool, int]) -> np.ndarray:
    return np.concatenate([np.full(count, value) for value, count in blocks])


def test_compare_right__by_hand() -> None:
    # Of 6 photos that one alone has right, 5 are lost: 7 of 64 coins fall so or worse.
    first = right((True, 5), (False, 1), (True, 20), (False, 3))
    second = right((False, 5), (True, 1), (True, 20), (False, 3))
    pairing = mcnemar_test(first, second)
    assert (pairing.lost, pairing.won) == (5, 1)
    assert pairing.p_worse == pytest.approx(7 / 64)
    assert pairing.p_two_sided == pytest.approx(14 / 64)
    assert mcnemar_test(second, first).p_worse == pytest.approx(63 / 64)


def test_compare_right__always_the_same() -> None:
    pairing = mcnemar_test(right((True, 9), (False, 2)), right((True, 9), (False, 2)))
    assert (pairing.lost, pairing.won, pairing.p_two_sided, pairing.p_worse) == (0, 0, 1.0, 1.0)


def random_labels(seed: int, share: float, targets: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kept = rng.random(len(targets)) < share
    return np.where(kept, targets, rng.integers(0, 4, len(targets)))


def test_bootstrap_change__as_by_drawing_photos() -> None:
    targets = np.random.default_rng(0).integers(0, 4, 150)
    first, second = random_labels(1, 0.8, targets), random_labels(2, 0.7, targets)
    change = bootstrap_change(targets, first, second)
    f1 = [f1_score(targets, labels, average="macro") for labels in (first, second)]
    assert change.macro_f1_before == pytest.approx(f1[0], abs=1e-12)
    assert change.macro_f1 == pytest.approx(f1[1] - f1[0], abs=1e-12)
    assert change.accuracy == pytest.approx(np.mean(second == targets) - np.mean(first == targets))
    rng = np.random.default_rng(3)
    draws = [rng.integers(0, 150, 150) for _ in range(600)]
    drawn = [
        f1_score(targets[draw], second[draw], average="macro")
        - f1_score(targets[draw], first[draw], average="macro")
        for draw in draws
    ]
    expected = tuple(np.percentile(drawn, [2.5, 97.5]))
    assert change.macro_f1_interval == pytest.approx(expected, abs=0.02)
    assert change.p_macro_f1_worse == pytest.approx(np.mean(np.array(drawn) >= 0), abs=0.03)
    low, high = change.accuracy_interval
    assert low < change.accuracy < high


def test_bootstrap_change__none() -> None:
    targets = np.array([0, 1, 2, 2])
    change = bootstrap_change(targets, targets, targets)
    assert (change.accuracy, change.macro_f1, change.p_macro_f1_worse) == (0, 0, 1)


def test_correct_holm__by_hand() -> None:
    assert correct_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert correct_holm([]) == []
