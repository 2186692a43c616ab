import math
from dataclasses import dataclass

import pytest

from boats_train.search.frontier import (
    Accuracy,
    Budget,
    choose,
    compare_accuracy,
    find_frontier,
    find_ties,
    is_clearly_worse,
)


@dataclass(frozen=True)
class Point:
    name: str
    accuracy: Accuracy
    latency_ms: float = 1.0
    megabytes: float = 1.0


def make_accuracy(*folds: float, macro_f1: float = 0.5) -> Accuracy:
    return Accuracy(folds, macro_f1, 100)


FAST = Point("fast", make_accuracy(0.80, 0.70, 0.75), 10.0, 3.0)
SLOW = Point("slow", make_accuracy(0.81, 0.72, 0.74), 40.0, 9.0)
BEST = Point("best", make_accuracy(0.90, 0.80, 0.86), 20.0, 6.0)
ALL = (FAST, SLOW, BEST)


def test_compare_accuracy__pairs_of_groups() -> None:
    difference, error = compare_accuracy(SLOW.accuracy, FAST.accuracy)
    assert difference == pytest.approx(0.02 / 3)
    # Differences 0.01, 0.02 and -0.01 with a standard deviation of 0.0153.
    assert error == pytest.approx(0.0152753 / math.sqrt(3), rel=1e-5)


def test_compare_accuracy__one_group_proves_nothing() -> None:
    assert compare_accuracy(make_accuracy(0.1), make_accuracy(0.9))[1] == math.inf
    assert not is_clearly_worse(make_accuracy(0.1), make_accuracy(0.9))


def test_is_clearly_worse__two_standard_errors_and_macro_f1() -> None:
    assert is_clearly_worse(FAST.accuracy, BEST.accuracy)
    assert not is_clearly_worse(FAST.accuracy, SLOW.accuracy)
    assert not is_clearly_worse(make_accuracy(0.80, 0.70, 0.75, macro_f1=0.6), BEST.accuracy)


def test_find_frontier__dominated_and_equal_candidates() -> None:
    twin = Point("twin", BEST.accuracy, 20.0, 6.0)
    assert find_frontier([*ALL, twin]) == [True, False, True, True]


@pytest.mark.parametrize(
    "better",
    [
        Point("macro-F1", make_accuracy(0.5, macro_f1=0.9), 99.0, 99.0),
        Point("latency", make_accuracy(0.5), 0.1, 99.0),
        Point("size", make_accuracy(0.5), 99.0, 0.1),
    ],
)
def test_find_frontier__best_of_one_measurement(better: Point) -> None:
    reference = Point("reference", make_accuracy(0.9))
    assert find_frontier([reference, better]) == [True, True]


def test_choose__most_accurate() -> None:
    assert choose(ALL, Budget()) is BEST
    assert find_ties(ALL) == [BEST]


def test_choose__tie_goes_to_the_faster() -> None:
    assert set(find_ties((FAST, SLOW))) == {FAST, SLOW}
    assert choose((FAST, SLOW), Budget()) is FAST


@pytest.mark.parametrize(
    "budget", [Budget(15.0), Budget(megabytes=3.0), Budget(10.0, 3.0), Budget(100.0, 5.0)]
)
def test_choose__within_the_budget(budget: Budget) -> None:
    assert choose(ALL, budget) is FAST


def test_choose__nothing_within_the_budget() -> None:
    budget = Budget(5.0, 2.0)
    assert choose(ALL, budget) is None
    assert budget.describe() == "5 ms and 2 MB"
    assert min(ALL, key=budget.compute_excess) is FAST


def test_to_json__accuracy_again() -> None:
    assert Accuracy.from_json(BEST.accuracy.to_json()) == BEST.accuracy
