"""Requests at random times: the server scenario of MLPerf Inference.

Arrivals are a Poisson process. The latency of an image lasts from its arrival to its result and
includes the time in the queue (Reddi et al. 2020, https://arxiv.org/abs/1911.02549, section IV).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Load:
    """Arrivals of images.

    Attributes:
        rate: Mean number of images per second, above 0.
        count: Number of images.
        batch: Largest number of images in one run of the model.
        seed: Seed for the arrival times.
        bound_s: Bound on the 99th percentile of the latencies, in seconds. The run stops when more
            than 1% of the images exceed it.
    """

    rate: float
    count: int
    batch: int
    seed: int = 0
    bound_s: float = 1e9


def serve(
    run_batch: Callable[[int], object],
    load: Load,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> NDArray[np.int64]:
    """Process images as they arrive, in batches of those that are in the queue.

    Args:
        run_batch: Function that processes a number of images, 1 to `load.batch`.
        load: Arrivals.
        clock: Function that returns the time in seconds.
        sleep: Function that waits for a number of seconds.

    Returns:
        Latency of each image in nanoseconds in the order of arrival, (count,) int64; fewer if the
        run stopped because of the bound.
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
        queued = int(np.searchsorted(arrivals, now, side="right")) - done
        size = min(queued, load.batch)
        run_batch(size)
        durations = clock() - arrivals[done : done + size]
        late += int((durations > load.bound_s).sum())
        latencies[done : done + size] = durations * 1e9
        done += size
    return latencies[:done]


def find_highest_rate(
    meets_bound: Callable[[float], bool], ceiling: float, steps: int = 6
) -> float | None:
    """Find the highest rate that meets a bound, by bisection.

    Args:
        meets_bound: Function that tries a rate in images per second.
        ceiling: Upper limit of the rate.
        steps: Number of rates to try; the error of the result is below `ceiling / 2 ** steps`.

    Returns:
        The highest rate that was tried and met the bound; None if none did.
    """
    low, high = 0.0, ceiling
    for _ in range(steps):
        middle = (low + high) / 2
        if meets_bound(middle):
            low = middle
        else:
            high = middle
    return low or None
