"""The one way to measure of all benchmarks: in turns, and nothing is thrown away.

Machines drift and are shared. So callables take turns round by round in a shuffled order, a ratio
of two of them is of medians over the same rounds, and its interval comes from drawing rounds again.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Clock = Callable[[], int]
"""Tells the time in nanoseconds."""

P99_COUNT = 1000
"""A 99th percentile of fewer values is the luck of a few of them."""


@dataclass(frozen=True)
class Plan:
    """How long to measure; both minimums are met.

    Attributes:
        warm_up: Calls of each task before the first that counts.
        settle: Calls at the start of a turn that are not timed: they find caches as another task
            left them, and cores that its threads still spin on. Alone a task meets neither.
        turn: Calls of a task in a row that are timed.
        min_count: Rounds, in which each task has one turn.
        min_seconds: Of all rounds together.
        seed: Of the order within the rounds.
    """

    warm_up: int = 5
    settle: int = 0
    turn: int = 1
    min_count: int = 50
    min_seconds: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.warm_up, self.settle, self.turn - 1, self.min_count - 1, self.min_seconds) < 0:
            raise ValueError(f"{self}: needs one turn and one round at least, and nothing below 0")


@dataclass(frozen=True)
class Ratio:
    """How the median time of one task compares with that of another.

    Attributes:
        value: The quotient of the medians.
        low: Where its 95% interval begins.
        high: Where it ends.
    """

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """Returns it as JSON values, in this order."""
        return [self.value, self.low, self.high]


def measure(
    tasks: Mapping[str, Callable[[], object]], plan: Plan, clock: Clock = time.perf_counter_ns
) -> dict[str, NDArray[np.int64]]:
    """Gives every task one turn a round, in an order shuffled anew.

    Args:
        tasks: What to time, by name.
        plan: How long.
        clock: Tells the time.

    Returns:
        The duration of each call in nanoseconds, `(rounds, turn)`, in the order of the calls.
    """
    shuffle = random.Random(plan.seed).shuffle  # noqa: S311
    order = list(tasks)
    values: dict[str, list[int]] = {name: [] for name in tasks}
    for _ in range(plan.warm_up):
        for name in order:
            tasks[name]()
    began = clock()
    rounds = 0
    while rounds < plan.min_count or clock() - began < plan.min_seconds * 1e9:
        shuffle(order)
        for name in order:
            task = tasks[name]
            for _ in range(plan.settle):
                task()
            for _ in range(plan.turn):
                started = clock()
                task()
                values[name].append(clock() - started)
        rounds += 1
    return {
        name: np.array(durations, dtype=np.int64).reshape(rounds, plan.turn)
        for name, durations in values.items()
    }


def summarise(values: NDArray[np.int64]) -> dict[str, Any]:
    """Returns `count`, `p50_ms`, `p90_ms`, from 1,000 values on `p99_ms`, and all `values_ns`."""
    shares = (50, 90, 99) if values.size >= P99_COUNT else (50, 90)
    percentiles = {f"p{share}_ms": float(np.percentile(values, share)) / 1e6 for share in shares}
    return {"count": values.size, **percentiles, "values_ns": values.tolist()}


def median_ratio(
    values: NDArray[np.int64], base: NDArray[np.int64], draws: int = 2000, seed: int = 0
) -> Ratio:
    """Divides the median of `values` by that of `base`, timed in the same rounds.

    The interval is the percentile bootstrap (Efron 1979), which draws whole rounds: what slows one
    task down slows down the other beside it. Of several starts of the process, which differ more
    than rounds do, it draws starts first and then rounds within each (Davison and Hinkley 1997,
    section 3.8).

    Args:
        values: `(rounds, turn)`, in nanoseconds, as `measure` returns them, or
            `(starts, rounds, turn)`.
        base: The same of what it is compared with.
        draws: How many times as many rounds are drawn.
        seed: Of the draws.
    """
    values, base = (one[np.newaxis] if one.ndim == 2 else one for one in (values, base))
    starts, rounds = values.shape[:2]
    if base.shape[:2] != (starts, rounds):
        raise ValueError(f"{values.shape} and {base.shape} values are not of the same rounds")
    rng = np.random.default_rng(seed)
    ratios = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(0, starts, (starts, 1))
        drawn = rng.integers(0, rounds, (starts, rounds))
        ratios[draw] = np.median(values[chosen, drawn]) / np.median(base[chosen, drawn])
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Ratio(float(np.median(values) / np.median(base)), float(low), float(high))


@dataclass(frozen=True)
class Percentile:
    """A percentile of times in milliseconds, and its 95 % interval."""

    value: float
    low: float
    high: float


def percentiles(
    rounds: Sequence[NDArray[np.int64]], draws: int = 1000, seed: int = 0
) -> dict[str, Percentile]:
    """Returns p50, p90 and, from `P99_COUNT` values on, p99 of times taken in several rounds.

    The interval is a bootstrap in two stages (Davison and Hinkley 1997, section 3.8): first rounds
    are drawn, then times within them, so that what differs from one start to the next counts.

    Args:
        rounds: Times of each round in nanoseconds, in the order they were taken.
        draws: How often rounds and times are drawn anew.
        seed: Of the draws.
    """
    pooled = np.concatenate(rounds)
    shares = (50, 90, 99) if pooled.size >= P99_COUNT else (50, 90)
    rng = np.random.default_rng(seed)
    drawn = np.empty((draws, len(shares)))
    for draw in range(draws):
        chosen = rng.integers(0, len(rounds), len(rounds))
        sample = [rng.choice(rounds[index], rounds[index].size) for index in chosen]
        drawn[draw] = np.percentile(np.concatenate(sample), shares)
    values = np.percentile(pooled, shares) / 1e6
    lows, highs = np.percentile(drawn, (2.5, 97.5), axis=0) / 1e6
    return {
        f"p{share}_ms": Percentile(float(value), float(low), float(high))
        for share, value, low, high in zip(shares, values, lows, highs, strict=True)
    }


def time_runs(
    run: Callable[[], object],
    plan: Plan,
    synchronise: Callable[[], object] = lambda: None,
    clock: Clock = time.perf_counter_ns,
) -> NDArray[np.int64]:
    """Times a task by itself, over and over; the warm-up does not count.

    Args:
        run: What to time.
        plan: How long; its turns and seed don't matter here.
        synchronise: Waits for what the run has only begun, as on a GPU; before the clock stops.
        clock: Tells the time.

    Returns:
        The duration of each run in nanoseconds, none left out.
    """
    for _ in range(plan.warm_up):
        run()
    synchronise()
    values: list[int] = []
    began = clock()
    while len(values) < plan.min_count or clock() - began < plan.min_seconds * 1e9:
        started = clock()
        run()
        synchronise()
        values.append(clock() - started)
    return np.array(values, dtype=np.int64)
