"""The one way to measure, on a clock that moves only when told to."""

from collections.abc import Callable

import numpy as np
import pytest

from boats_benchmark.timing import (
    Plan,
    measure,
    median_ratio,
    percentiles,
    summarise,
    time_runs,
)

SECOND = 1_000_000_000


class FakeClock:
    """Stands still, but for the tasks that it makes, which each take as long as they say."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now

    def task(self, name: str, *durations: int) -> Callable[[], None]:
        """A task whose calls take these durations in turn, and then the last one again."""
        remaining = list(durations)

        def run() -> None:
            self.calls.append(name)
            self.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return run


def test_measure__keeps_the_duration_of_every_call() -> None:
    clock = FakeClock()
    tasks = {"fast": clock.task("fast", 3, 4, 5), "slow": clock.task("slow", 100)}
    values = measure(tasks, Plan(warm_up=0, min_count=3, min_seconds=0), clock)
    assert values["fast"].tolist() == [[3], [4], [5]]
    assert values["slow"].tolist() == [[100], [100], [100]]


def test_measure__calls_a_task_several_times_in_its_turn() -> None:
    clock = FakeClock()
    tasks = {"a": clock.task("a", 9, 1, 1, 8, 2, 2), "b": clock.task("b", 5)}
    plan = Plan(warm_up=0, turn=3, min_count=2, min_seconds=0)
    values = measure(tasks, plan, clock)
    assert values["a"].tolist() == [[9, 1, 1], [8, 2, 2]]
    assert values["b"].shape == (2, 3)
    assert all(len(set(clock.calls[start : start + 3])) == 1 for start in range(0, 12, 3))


def test_measure__leaves_out_how_a_turn_settles() -> None:
    clock = FakeClock()
    tasks = {"a": clock.task("a", 900, 1, 2, 800, 3, 4), "b": clock.task("b", 700, 5, 5)}
    values = measure(tasks, Plan(warm_up=0, settle=1, turn=2, min_count=2, min_seconds=0), clock)
    assert values["a"].tolist() == [[1, 2], [3, 4]]
    assert len(clock.calls) == 12


def test_measure__leaves_the_warm_up_out() -> None:
    clock = FakeClock()
    tasks = {"only": clock.task("only", 900, 800, 7)}
    values = measure(tasks, Plan(warm_up=2, min_count=3, min_seconds=0), clock)
    assert values["only"].ravel().tolist() == [7, 7, 7]
    assert len(clock.calls) == 5


def test_measure__goes_on_until_the_duration_is_met() -> None:
    clock = FakeClock()
    plan = Plan(warm_up=3, min_count=2, min_seconds=5.0)
    values = measure({"only": clock.task("only", SECOND)}, plan, clock)
    assert len(values["only"]) == 5


def test_measure__goes_on_until_the_count_is_met() -> None:
    clock = FakeClock()
    plan = Plan(warm_up=0, min_count=9, min_seconds=5.0)
    values = measure({"only": clock.task("only", SECOND)}, plan, clock)
    assert len(values["only"]) == 9


def test_measure__takes_turns_in_an_order_of_the_seed() -> None:
    orders = []
    for seed in (0, 0, 1):
        clock = FakeClock()
        tasks = {name: clock.task(name, 1) for name in "abc"}
        measure(tasks, Plan(warm_up=0, min_count=20, min_seconds=0, seed=seed), clock)
        orders.append(clock.calls)
    rounds = ["".join(orders[0][start : start + 3]) for start in range(0, 60, 3)]
    assert {"".join(sorted(turn)) for turn in rounds} == {"abc"}
    assert len(set(rounds)) > 3
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


@pytest.mark.parametrize(
    "wrong", [{"min_count": 0}, {"turn": 0}, {"warm_up": -1}, {"settle": -1}, {"min_seconds": -1.0}]
)
def test_plan__refuses_what_measures_nothing(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs one turn and one round"):
        Plan(**wrong)


def test_summarise__tells_percentiles_in_milliseconds() -> None:
    values = np.arange(1, 102, dtype=np.int64)[:, np.newaxis] * 1_000_000
    summary = summarise(values)
    assert summary == {
        "count": 101,
        "p50_ms": 51.0,
        "p90_ms": 91.0,
        "values_ns": [[1_000_000 * step] for step in range(1, 102)],
    }


@pytest.mark.parametrize(("rounds", "told"), [(333, False), (334, True)])
def test_summarise__tells_p99_from_a_thousand_values_on(rounds: int, told: bool) -> None:
    assert ("p99_ms" in summarise(np.ones((rounds, 3), dtype=np.int64))) is told


def test_median_ratio__is_of_the_medians() -> None:
    values = np.array([[10], [20], [1000]], dtype=np.int64)
    base = np.array([[100], [40], [39]], dtype=np.int64)
    ratio = median_ratio(values, base)
    assert ratio.value == 0.5
    assert ratio.low <= ratio.value <= ratio.high


def test_median_ratio__interval_narrows_with_rounds() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rounds in (20, 2000):
        values = rng.normal(50_000, 5000, (rounds, 1)).astype(np.int64)
        base = rng.normal(100_000, 10_000, (rounds, 1)).astype(np.int64)
        ratio = median_ratio(values, base)
        assert ratio.low < 0.5 < ratio.high
        widths.append(ratio.high - ratio.low)
    assert widths[1] < widths[0] / 3


def test_median_ratio__draws_whole_rounds() -> None:
    """Where both are slow in the same rounds, their ratio is certain however much each varies."""
    slowness = np.random.default_rng(0).integers(1, 100, (50, 1)).repeat(3, axis=1)
    ratio = median_ratio(slowness * 1000, slowness * 2000)
    assert (ratio.low, ratio.value, ratio.high) == (0.5, 0.5, 0.5)


def test_median_ratio__refuses_other_rounds() -> None:
    with pytest.raises(ValueError, match="not of the same rounds"):
        median_ratio(np.ones((3, 2), dtype=np.int64), np.ones((4, 2), dtype=np.int64))


def test_median_ratio__counts_how_starts_differ() -> None:
    """Rounds of a start are alike, starts are not: one alone is no more certain than its luck."""
    base = np.full((4, 50, 1), 100, dtype=np.int64)
    values = base * np.array([1, 1, 2, 2]).reshape(4, 1, 1)
    ratio = median_ratio(values, base)
    assert (ratio.low, ratio.high) == (1.0, 2.0)
    alone = median_ratio(values[0], base[0])
    assert (alone.low, alone.value, alone.high) == (1.0, 1.0, 1.0)


# --- time_runs


def test_time_runs__warm_up_is_left_out_and_outliers_stay() -> None:
    clock = FakeClock()
    plan = Plan(warm_up=2, min_count=4, min_seconds=0)
    values = time_runs(clock.task("only", 900, 800, 7, 5000, 8, 7), plan, clock=clock)
    assert values.tolist() == [7, 5000, 8, 7]


def test_time_runs__both_duration_and_count_are_met() -> None:
    clock = FakeClock()
    long = Plan(warm_up=0, min_count=2, min_seconds=5.0)
    assert len(time_runs(clock.task("only", SECOND), long, clock=clock)) == 5
    many = Plan(warm_up=0, min_count=9, min_seconds=5.0)
    assert len(time_runs(clock.task("only", SECOND), many, clock=clock)) == 9


def test_time_runs__waits_for_what_has_only_begun() -> None:
    clock = FakeClock()
    queued: list[int] = []

    def begin() -> None:
        clock.now += 1  # a launch returns at once
        queued.append(50)

    def synchronise() -> None:
        clock.now += sum(queued)
        queued.clear()

    plan = Plan(warm_up=3, min_count=4, min_seconds=0)
    assert time_runs(begin, plan, synchronise, clock).tolist() == [51, 51, 51, 51]


# --- percentiles


def test_percentiles__are_exact() -> None:
    values = np.arange(1, 1002, dtype=np.int64) * 1_000_000
    told = percentiles(np.array_split(np.random.default_rng(0).permutation(values), 5))
    assert {name: one.value for name, one in told.items()} == {
        "p50_ms": 501.0, "p90_ms": 901.0, "p99_ms": 991.0,
    }  # fmt: skip
    assert all(one.low <= one.value <= one.high for one in told.values())


def test_percentiles__no_p99_of_few() -> None:
    few = [np.ones(333, dtype=np.int64)] * 3
    assert list(percentiles(few)) == ["p50_ms", "p90_ms"]
    assert "p99_ms" in percentiles([*few, np.ones(1, dtype=np.int64)])


def test_percentiles__what_differs_between_rounds_counts() -> None:
    rng = np.random.default_rng(0)
    alike = [rng.normal(50e6, 1e5, 200).astype(np.int64) for _ in range(5)]
    apart = [
        values + shift for values, shift in zip(alike, range(0, 10**7, 2 * 10**6), strict=True)
    ]
    widths = [
        (one.high - one.low) / one.value
        for one in (percentiles(alike)["p50_ms"], percentiles(apart)["p50_ms"])
    ]
    assert widths[0] < 0.01
    assert widths[1] > 0.05
