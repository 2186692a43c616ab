"""Photos that arrive when they want: the Server scenario of MLPerf Inference.

Arrivals are a Poisson process; a photo's latency is from its arrival to its answer, waiting
included. Reddi et al. 2020, https://arxiv.org/abs/1911.02549, section IV.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Load:
    """How photos arrive.

    Attributes:
        rate: Photos a second, on average.
        count: Photos.
        batch: Most that are answered together.
        seed: Of the arrivals.
        bound_s: Of the 99th percentile of the latencies; once more than a hundredth of the photos
            took longer, the rest is not waited for.
    """

    rate: float
    count: int
    batch: int
    seed: int = 0
    bound_s: float = 1e9


def serve(
    answer: Callable[[int], object],
    load: Load,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> NDArray[np.int64]:
    """Answers photos as they arrive, those that wait together.

    Args:
        answer: Answers so many photos, 1 to `load.batch`.
        load: How they arrive.
        clock: Tells the time in seconds.
        sleep: Waits so many seconds.

    Returns:
        The latency of each photo in nanoseconds, in the order of their arrival: `(count,)`, or
        fewer where the bound was lost.
    """
    gaps = np.random.default_rng(load.seed).exponential(1 / load.rate, load.count)
    arrivals = clock() + np.cumsum(gaps)
    latencies = np.empty(load.count, dtype=np.int64)
    done = late = 0
    while done < load.count and late <= load.count // 100:
        now = clock()
        if arrivals[done] > now:
            sleep(float(arrivals[done] - now))
            continue
        waiting = int(np.searchsorted(arrivals, now, side="right")) - done
        together = min(waiting, load.batch)
        answer(together)
        finished = clock()
        took = finished - arrivals[done : done + together]
        late += int((took > load.bound_s).sum())
        latencies[done : done + together] = took * 1e9
        done += together
    return latencies[:done]


def highest_rate(
    meets_bound: Callable[[float], bool], ceiling: float, trials: int = 6
) -> float | None:
    """Finds the highest rate that keeps the bound, by halving.

    Args:
        meets_bound: Tries a rate, in photos a second.
        ceiling: What can't be exceeded, like the rate without any waiting.
        trials: How often to try; the answer is within `ceiling / 2 ** trials`.

    Returns:
        The highest rate that was tried and kept the bound; None if none did.
    """
    low, high = 0.0, ceiling
    for _ in range(trials):
        middle = (low + high) / 2
        if meets_bound(middle):
            low = middle
        else:
            high = middle
    return low or None
