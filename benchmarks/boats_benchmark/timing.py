"""Timing of callables in interleaved trials, with bootstrap intervals; no value is dropped.

Machines drift and are shared. Therefore tasks are timed round by round in a shuffled order, the
ratio of two tasks is that of their medians over the same rounds, and its interval is a bootstrap
over the rounds.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Task = Callable[[], object]
Clock = Callable[[], int]
"""Function that returns the time in nanoseconds."""

MIN_P99_VALUES = 1000
"""Smallest number of values with a 99th percentile, so that at least ten values exceed it."""

RATIO_DRAWS = 2000
PERCENTILE_DRAWS = 1000


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
    shuffle = random.Random(settings.seed).shuffle  # noqa: S311
    order = list(tasks)
    durations: dict[str, list[int]] = {name: [] for name in tasks}
    for _ in range(settings.warmup_calls):
        for name in order:
            tasks[name]()
    begin = clock()
    rounds = 0
    while rounds < settings.min_rounds or clock() - begin < settings.min_seconds * 1e9:
        shuffle(order)
        for name in order:
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


def estimate_ratio(values: NDArray[np.int64], base: NDArray[np.int64]) -> Estimate:
    """Divide the median of `values` by that of `base`, timed in the same rounds.

    The interval is a percentile bootstrap (Efron 1979) over whole rounds, as a slow phase of the
    machine affects both tasks of a round. With several starts of the process, which differ more
    than rounds do, it draws first starts and then rounds within each (Davison and Hinkley 1997,
    section 3.8).

    Args:
        values: (rounds, calls) or (starts, rounds, calls) int64, nanoseconds.
        base: Values of the other task, with as many starts and rounds.

    Raises:
        ValueError: If the numbers of starts or rounds differ.
    """
    values, base = (array[np.newaxis] if array.ndim == 2 else array for array in (values, base))
    starts, rounds = values.shape[:2]
    if base.shape[:2] != (starts, rounds):
        raise ValueError(f"shapes {values.shape} and {base.shape}: expected the same rounds")
    rng = np.random.default_rng(0)
    ratios = np.empty(RATIO_DRAWS)
    for draw in range(RATIO_DRAWS):
        start_indices = rng.integers(0, starts, (starts, 1))
        round_indices = rng.integers(0, rounds, (starts, rounds))
        numerator, denominator = (array[start_indices, round_indices] for array in (values, base))
        ratios[draw] = np.median(numerator) / np.median(denominator)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Estimate(float(np.median(values) / np.median(base)), float(low), float(high))


def estimate_percentiles(trials: Sequence[NDArray[np.int64]]) -> dict[str, Estimate]:
    """Return `p50_ms`, `p90_ms` and, of at least 1,000 values, `p99_ms`.

    The interval is a two-stage bootstrap (Davison and Hinkley 1997, section 3.8) over trials and
    over the values within a trial, so that it includes the differences between processes.

    Args:
        trials: Durations of each trial, (N,) int64, nanoseconds.
    """
    pooled = np.concatenate(trials)
    ranks = _get_ranks(pooled.size)
    rng = np.random.default_rng(0)
    samples = np.empty((PERCENTILE_DRAWS, len(ranks)))
    for draw in range(PERCENTILE_DRAWS):
        indices = rng.integers(0, len(trials), len(trials))
        sample = [rng.choice(trials[index], trials[index].size) for index in indices]
        samples[draw] = np.percentile(np.concatenate(sample), ranks)
    values = np.percentile(pooled, ranks) / 1e6
    lows, highs = np.percentile(samples, (2.5, 97.5), axis=0) / 1e6
    return {
        f"p{rank}_ms": Estimate(float(value), float(low), float(high))
        for rank, value, low, high in zip(ranks, values, lows, highs, strict=True)
    }


def _get_ranks(count: int) -> tuple[int, ...]:
    return (50, 90, 99) if count >= MIN_P99_VALUES else (50, 90)
