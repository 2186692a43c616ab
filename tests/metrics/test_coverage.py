"""Coverage: how often a 95% interval contains the true value, over 500 repetitions."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from boats_metrics.classification import (
    ClassificationMetrics,
    bootstrap_intervals,
    compute_metrics,
    percentile_interval,
)
from boats_metrics.jackknife import Interval
from boats_metrics.paired import compare_paired
from support.simulated_days import CLASSES, Day, join_days, simulate_days

REPETITIONS = 500


@pytest.fixture(scope="module")
def many_days() -> Day:
    """Images of 20,000 days, for the true values."""
    return join_days(simulate_days(np.random.default_rng(99), 20_000))[0]


@pytest.fixture(scope="module")
def truth(many_days: Day) -> ClassificationMetrics:
    return compute_metrics(many_days.targets, many_days.predicted, CLASSES)


def repeat(days: int) -> Iterator[tuple[Day, NDArray[np.int64]]]:
    """Yield the images of some days, and the number of the day of each image."""
    rng = np.random.default_rng(days)
    for _ in range(REPETITIONS):
        yield join_days(simulate_days(rng, days))


def coverage(intervals: list[Interval], value: float) -> float:
    return float(np.mean([low <= value <= high for low, high in intervals]))


@pytest.mark.parametrize("days", [6, 10])
def test_intervals__cover_the_true_value_on_simulated_days(
    truth: ClassificationMetrics, days: int
) -> None:
    found = [
        compute_metrics(day.targets, day.predicted, CLASSES, groups=groups).intervals
        for day, groups in repeat(days)
    ]
    assert {(intervals.unit, intervals.groups) for intervals in found} == {("groups", days)}
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        covered = coverage([getattr(row, name) for row in found], getattr(truth, name))
        assert 0.9 <= covered <= 0.98, name


def test_bootstrap_intervals__of_images_fail_on_simulated_days(
    truth: ClassificationMetrics,
) -> None:
    intervals = [
        bootstrap_intervals(compute_metrics(day.targets, day.predicted, CLASSES).confusion)
        for day, _ in repeat(6)
    ]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        covered = coverage([getattr(row, name) for row in intervals], getattr(truth, name))
        assert covered < 0.8, name


def test_compare_paired__intervals_cover_the_true_change_on_simulated_days(
    many_days: Day, truth: ClassificationMetrics
) -> None:
    second = compute_metrics(many_days.targets, many_days.second, CLASSES)
    found = [
        compare_paired(day.targets, day.predicted, day.second, groups=groups)
        for day, groups in repeat(6)
    ]
    for name in ("accuracy", "macro_f1"):
        change = getattr(second, name) - getattr(truth, name)
        covered = coverage([getattr(row, f"{name}_interval") for row in found], change)
        assert 0.9 <= covered <= 0.98, name


def test_percentile_bootstrap_of_groups__fails_with_few_groups(
    truth: ClassificationMetrics,
) -> None:
    # The reason for Student's t: resampling 6 days as they are covers too rarely.
    rng = np.random.default_rng(0)
    intervals = []
    for day, groups in repeat(6):
        correct = np.bincount(groups, day.targets == day.predicted)
        weights = rng.multinomial(6, np.ones(6) / 6, size=1000)
        intervals.append(percentile_interval(weights @ correct / (weights @ np.bincount(groups))))
    assert coverage(intervals, truth.accuracy) < 0.9
