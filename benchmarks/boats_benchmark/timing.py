"""Timing of callables in interleaved trials, with bootstrap intervals; no value is dropped.

Machines drift and are shared. Therefore tasks are timed round by round in a shuffled order, the
ratio of two tasks is that of their medians over the same rounds, and its interval is a bootstrap
over starts of the process and rounds.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")

Task = Callable[[], object]
Clock = Callable[[], int]
"""Function that returns the time in nanoseconds."""

MIN_P99_VALUES = 1000
"""Smallest number of values with a 99th percentile, so that at least ten values exceed it."""

MIN_STARTS = 5
"""Smallest number of starts of a process from which a difference is claimed."""

DRAWS = 1000
"""Number of bootstrap resamples."""

Statistic = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Function from rounds, (N, ...) nanoseconds, to values, (M,) float64."""


@dataclass(frozen=True)
class TimingSettings:
    """Length of a measurement; both minimums are met.

    Attributes:
        warmup_calls: Untimed calls of each task before the first round.
        untimed_calls: Untimed calls at the start of each trial, so that caches and threads reach
            steady state.
        timed_calls: Timed calls in a trial.
        min_rounds: Smallest number of rounds; in a round each task has one trial.
        min_seconds: Smallest duration of all rounds together.
        seed: Seed for the order of the tasks.

    Raises:
        ValueError: If a value is too small.
    """

    warmup_calls: int = 5
    untimed_calls: int = 0
    timed_calls: int = 1
    min_rounds: int = 50
    min_seconds: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.warmup_calls, self.untimed_calls, self.timed_calls - 1, self.min_rounds - 1)
        if min(*counts, self.min_seconds) < 0:
            raise ValueError(f"{self}: expected at least one round of one timed call")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, `low` to `high`."""

    value: float
    low: float
    high: float

    def to_list(self) -> list[float]:
        """Return value, low and high."""
        return [self.value, self.low, self.high]

    def format(self, digits: int = 2) -> str:
        """Return the value and its interval as text."""
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def shuffle_rounds(items: Sequence[Item], seed: int) -> Iterator[list[Item]]:
    """Yield all items in a new random order, without end."""
    shuffle = random.Random(seed).shuffle  # noqa: S311
    order = list(items)
    while True:
        shuffle(order)
        yield list(order)


def time_interleaved(
    tasks: Mapping[str, Task], settings: TimingSettings, clock: Clock = time.perf_counter_ns
) -> dict[str, NDArray[np.int64]]:
    """Time tasks in interleaved trials, in an order that is shuffled for each round.

    Args:
        tasks: Functions to time, by name.
        settings: Length of the measurement.
        clock: Clock to read.

    Returns:
        Durations of the calls in nanoseconds, (rounds, timed_calls) int64, by name.
    """
    rounds_of_names = shuffle_rounds(list(tasks), settings.seed)
    durations: dict[str, list[int]] = {name: [] for name in tasks}
    for _ in range(settings.warmup_calls):
        for name in tasks:
            tasks[name]()
    begin = clock()
    rounds = 0
    while rounds < settings.min_rounds or clock() - begin < settings.min_seconds * 1e9:
        for name in next(rounds_of_names):
            task = tasks[name]
            for _ in range(settings.untimed_calls):
                task()
            for _ in range(settings.timed_calls):
                start = clock()
                task()
                durations[name].append(clock() - start)
        rounds += 1
    return {
        name: np.array(values, dtype=np.int64).reshape(rounds, settings.timed_calls)
        for name, values in durations.items()
    }


def summarize(values: NDArray[np.int64]) -> dict[str, Any]:
    """Return `count`, `p50_ms`, `p90_ms`, `p99_ms` of at least 1,000 values, and `values_ns`."""
    percentiles = {
        f"p{rank}_ms": float(np.percentile(values, rank)) / 1e6 for rank in _get_ranks(values.size)
    }
    return {"count": values.size, **percentiles, "values_ns": values.tolist()}


def estimate(starts: Sequence[NDArray[np.int64]], statistic: Statistic) -> list[Estimate]:
    """Apply a statistic to all rounds, and estimate its intervals.

    The interval is a percentile bootstrap (Efron 1979) in two stages (Davison and Hinkley 1997,
    section 3.8): it draws starts of the process, which differ more than rounds do, and then rounds
    within each. A round is drawn as a whole, as a slow phase of the machine affects all its values.

    Args:
        starts: Rounds of each start, (N, ...) int64, nanoseconds.
        statistic: Statistic of the rounds of all starts; the same gives the value and the interval.
    """
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        drawn = (starts[index] for index in rng.integers(0, len(starts), len(starts)))
        sample = [rounds[rng.integers(0, len(rounds), len(rounds))] for rounds in drawn]
        draws.append(statistic(np.concatenate(sample)))
    values = statistic(np.concatenate(starts))
    bounds = np.percentile(draws, (2.5, 97.5), axis=0)
    return [Estimate(*map(float, row)) for row in np.vstack([values, bounds]).T]


def estimate_ratio(values: NDArray[np.int64], base: NDArray[np.int64]) -> Estimate:
    """Divide the median of `values` by that of `base`, timed in the same rounds.

    Args:
        values: (rounds, calls) or (starts, rounds, calls) int64, nanoseconds.
        base: Values of the other task, with as many starts and rounds.

    Raises:
        ValueError: If the numbers of starts or rounds differ.
    """
    if base.shape[:-1] != values.shape[:-1]:
        raise ValueError(f"shapes {values.shape} and {base.shape}: expected the same rounds")
    both = np.concatenate([values, base], axis=-1)
    calls = values.shape[-1]
    (ratio,) = estimate(
        [both] if both.ndim == 2 else list(both),
        lambda rounds: np.array([np.median(rounds[:, :calls]) / np.median(rounds[:, calls:])]),
    )
    return ratio


def estimate_percentiles(trials: Sequence[NDArray[np.int64]]) -> dict[str, Estimate]:
    """Return `p50_ms`, `p90_ms` and, of at least 1,000 values, `p99_ms`.

    Args:
        trials: Durations of each trial, (N,) int64, nanoseconds.
    """
    ranks = _get_ranks(sum(map(len, trials)))
    estimates = estimate(trials, lambda durations: np.percentile(durations, ranks) / 1e6)
    return {f"p{rank}_ms": value for rank, value in zip(ranks, estimates, strict=True)}


def estimate_throughput(trials: Sequence[NDArray[np.int64]], batch: int) -> Estimate:
    """Return the number of images per second over all runs.

    Args:
        trials: Durations of the runs of each trial, (N,) int64, nanoseconds.
        batch: Number of images in a run.
    """
    (throughput,) = estimate(trials, lambda durations: np.array([batch * 1e9 / durations.mean()]))
    return throughput


def compare(
    tasks: Mapping[str, Task], settings: TimingSettings, ratios: Mapping[str, tuple[str, str]]
) -> dict[str, Any]:
    """Time tasks in interleaved trials, and return their `times` and ratios as JSON values.

    Args:
        tasks: Functions to time, by name.
        settings: Length of the measurement.
        ratios: Names of the two tasks whose latencies are divided, by name of the result.
    """
    values = time_interleaved(tasks, settings)
    return {
        "times": {name: summarize(durations) for name, durations in values.items()},
        **{
            name: estimate_ratio(values[numerator], values[denominator]).to_list()
            for name, (numerator, denominator) in ratios.items()
        },
    }


def describe_difference(share: Estimate, starts: int) -> str | None:
    """Return whether a latency is "faster" or "slower" than another one; None if that is unknown.

    Args:
        share: Latency relative to the other one.
        starts: Number of starts of the process that both were measured in.
    """
    if starts < MIN_STARTS or share.low <= 1 <= share.high:
        return None
    return "faster" if share.high < 1 else "slower"


def _get_ranks(count: int) -> tuple[int, ...]:
    return (50, 90, 99) if count >= MIN_P99_VALUES else (50, 90)
