"""Timing with a clock that only the tasks advance."""

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from boats_benchmark.timing import (
    MIN_STARTS,
    Estimate,
    TimingSettings,
    compare,
    describe_difference,
    estimate,
    estimate_percentiles,
    estimate_ratio,
    estimate_throughput,
    shuffle_rounds,
    summarize,
    time_interleaved,
)

SECOND = 1_000_000_000


class FakeClock:
    """A clock, and tasks that advance it by given durations in nanoseconds."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now

    def task(self, name: str, *durations: int) -> Callable[[], None]:
        """Return a task whose calls take these durations; the last one is repeated."""
        remaining = list(durations)

        def run() -> None:
            self.calls.append(name)
            self.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return run


@pytest.mark.parametrize(
    ("settings", "expected", "calls"),
    [
        ({}, [[900], [1], [2]], 3),
        ({"timed_calls": 2}, [[900, 1], [2, 800], [3, 4]], 6),
        ({"timed_calls": 2, "untimed_calls": 1}, [[1, 2], [3, 4], [4, 4]], 9),
        ({"warmup_calls": 2}, [[2], [800], [3]], 5),
    ],
    ids=["all", "several calls", "untimed calls", "warmup"],
)
def test_time_interleaved__keeps_every_timed_call(
    settings: dict[str, int], expected: list[list[int]], calls: int
) -> None:
    clock = FakeClock()
    tasks = {"a": clock.task("a", 900, 1, 2, 800, 3, 4), "b": clock.task("b", 5)}
    values = time_interleaved(
        tasks, TimingSettings(**{"warmup_calls": 0, **settings}, min_rounds=3), clock
    )
    assert values["a"].tolist() == expected
    assert values["b"].shape == values["a"].shape
    assert clock.calls.count("a") == clock.calls.count("b") == calls


@pytest.mark.parametrize(("min_rounds", "expected"), [(2, 5), (9, 9)])
def test_time_interleaved__meets_both_minimums(min_rounds: int, expected: int) -> None:
    clock = FakeClock()
    settings = TimingSettings(warmup_calls=3, min_rounds=min_rounds, min_seconds=5.0)
    values = time_interleaved({"only": clock.task("only", SECOND)}, settings, clock)
    assert len(values["only"]) == expected


def test_shuffle_rounds__order_by_the_seed() -> None:
    first, same, other = (list(islice(shuffle_rounds("abc", seed), 20)) for seed in (0, 0, 1))
    assert first == same != other
    assert {"".join(sorted(order)) for order in first} == {"abc"}
    assert len({"".join(order) for order in first}) > 3


def test_compare__times_and_ratios() -> None:
    tasks = {"a": FakeClock().task("a", 1), "b": FakeClock().task("b", 1)}
    result = compare(tasks, TimingSettings(0, min_rounds=3), {"share": ("a", "a")})
    assert result["share"] == [1.0, 1.0, 1.0]
    assert [times["count"] for times in result["times"].values()] == [3, 3]


@pytest.mark.parametrize(
    "settings",
    [
        {"min_rounds": 0},
        {"timed_calls": 0},
        {"warmup_calls": -1},
        {"untimed_calls": -1},
        {"min_seconds": -1},
    ],
)
def test_timing_settings__too_small(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one round"):
        TimingSettings(**settings)


def test_summarize__milliseconds_and_raw_values() -> None:
    values = np.arange(1, 102, dtype=np.int64)[:, np.newaxis] * 1_000_000
    assert summarize(values) == {
        "count": 101,
        "p50_ms": 51.0,
        "p90_ms": 91.0,
        "values_ns": [[1_000_000 * step] for step in range(1, 102)],
    }


@pytest.mark.parametrize(("count", "expected"), [(999, False), (1000, True)])
def test_summarize__p99_of_a_thousand_values(count: int, expected: bool) -> None:
    values = np.ones(count, dtype=np.int64)
    assert ("p99_ms" in summarize(values)) is expected
    assert ("p99_ms" in estimate_percentiles(np.array_split(values, 3))) is expected


def test_estimate_ratio__value_is_the_ratio_of_the_medians() -> None:
    values = np.array([[10], [20], [1000]], dtype=np.int64)
    base = np.array([[100], [40], [39]], dtype=np.int64)
    ratio = estimate_ratio(values, base)
    assert ratio.value == 0.5
    assert ratio.low <= ratio.value <= ratio.high


def test_estimate_ratio__interval_narrows_with_rounds() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rounds in (20, 2000):
        values = rng.normal(50_000, 5000, (rounds, 1)).astype(np.int64)
        base = rng.normal(100_000, 10_000, (rounds, 1)).astype(np.int64)
        ratio = estimate_ratio(values, base)
        assert ratio.low < 0.5 < ratio.high
        widths.append(ratio.high - ratio.low)
    assert widths[1] < widths[0] / 3


def test_estimate_ratio__samples_whole_rounds() -> None:
    """Both tasks are slow in the same rounds, so their ratio does not vary."""
    slowness = np.random.default_rng(0).integers(1, 100, (50, 1)).repeat(3, axis=1)
    ratio = estimate_ratio(slowness * 1000, slowness * 2000)
    assert ratio.to_list() == [0.5, 0.5, 0.5]


def test_estimate_ratio__samples_starts() -> None:
    """The rounds of a start are equal, the starts differ."""
    base = np.full((4, 50, 1), 100, dtype=np.int64)
    values = base * np.array([1, 1, 2, 2]).reshape(4, 1, 1)
    ratio = estimate_ratio(values, base)
    assert (ratio.low, ratio.high) == (1.0, 2.0)
    assert estimate_ratio(values[0], base[0]).to_list() == [1.0, 1.0, 1.0]


def test_estimate_ratio__different_rounds() -> None:
    with pytest.raises(ValueError, match="expected the same rounds"):
        estimate_ratio(np.ones((3, 2), dtype=np.int64), np.ones((4, 2), dtype=np.int64))


def test_estimate_percentiles__values() -> None:
    values = np.arange(1, 1002, dtype=np.int64) * 1_000_000
    shuffled = np.random.default_rng(0).permutation(values)
    estimates = estimate_percentiles(np.array_split(shuffled, 5))
    assert {name: estimate.value for name, estimate in estimates.items()} == {
        "p50_ms": 501.0, "p90_ms": 901.0, "p99_ms": 991.0,
    }  # fmt: skip
    assert all(estimate.low <= estimate.value <= estimate.high for estimate in estimates.values())


def test_estimate_percentiles__interval_includes_differences_between_trials() -> None:
    rng = np.random.default_rng(0)
    similar = [rng.normal(50e6, 1e5, 200).astype(np.int64) for _ in range(5)]
    different = [values + 2 * 10**6 * number for number, values in enumerate(similar)]
    narrow, wide = (estimate_percentiles(trials)["p50_ms"] for trials in (similar, different))
    assert (narrow.high - narrow.low) / narrow.value < 0.01
    assert (wide.high - wide.low) / wide.value > 0.05


def test_estimate__value_and_interval_are_of_one_statistic() -> None:
    starts = [np.array([[1, 2], [3, 4]]), np.array([[5, 6]])]
    samples: list[list[int]] = []

    def record(rounds: np.ndarray) -> np.ndarray:
        samples.append(rounds[:, 0].tolist())
        assert (rounds[:, 1] == rounds[:, 0] + 1).all(), "a round is drawn as a whole"
        return rounds.mean(axis=0)

    first, second = estimate(starts, record)
    *draws, all_rounds = samples
    assert all_rounds == [1, 3, 5]
    assert {len(rounds) for rounds in draws} == {2, 3, 4}
    assert first.value == 3.0
    assert first.low <= first.value <= first.high
    assert second.to_list() == [bound + 1 for bound in first.to_list()]


@pytest.mark.parametrize("slow_trials", [1, 2, 4])
def test_estimate_throughput__interval_is_of_the_rate_of_all_runs(slow_trials: int) -> None:
    """As many runs in each trial, so that the mean of the rates is not the rate of all runs."""
    trials = [np.full(10, 100 if number < slow_trials else 10) * 10**6 for number in range(5)]
    throughput = estimate_throughput(trials, batch=4)
    seconds = (slow_trials * 100 + (5 - slow_trials) * 10) / 1000 * 10
    assert throughput.value == pytest.approx(4 * 50 / seconds)
    assert throughput.low <= throughput.value <= throughput.high


@pytest.mark.parametrize(
    ("low", "high", "starts", "expected"),
    [
        (0.8, 0.9, MIN_STARTS, "faster"),
        (1.1, 1.2, MIN_STARTS, "slower"),
        (0.9, 1.0, MIN_STARTS, None),
        (1.0, 1.1, 100, None),
        (0.8, 0.9, MIN_STARTS - 1, None),
        (1.1, 1.2, 1, None),
    ],
)
def test_describe_difference__needs_an_interval_over_enough_starts(
    low: float, high: float, starts: int, expected: str | None
) -> None:
    assert describe_difference(Estimate((low + high) / 2, low, high), starts) == expected
