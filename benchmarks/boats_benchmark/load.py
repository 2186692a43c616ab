"""Requests at random times: the server scenario of MLPerf Inference.

Arrivals are a Poisson process. The latency of an image lasts from its arrival to its result and
includes the time in the queue (Reddi et al. 2020, https://arxiv.org/abs/1911.02549, section IV).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boats_benchmark.timing import MIN_P99_VALUES

MAX_RATES = 6
"""Largest number of rates to try; the error of the result is below the highest rate / 2^6."""

MIN_IMAGES = 100
"""Number of images at a rate, where the duration allows it, so that one late image is 1%."""


@dataclass(frozen=True)
class Load:
    """Arrivals of images.

    Attributes:
        rate: Mean number of images per second, above 0.
        seconds: Duration of the arrivals.
        batch: Largest number of images in one run of the model.
        bound_s: Bound on the latency of 99% of the images, in seconds.
        seed: Seed for the arrival times.
    """

    rate: float
    seconds: float
    batch: int
    bound_s: float = 1e9
    seed: int = 0


@dataclass(frozen=True)
class Attempt:
    """Result of a rate.

    Attributes:
        rate: Mean number of images per second.
        images: Number of images whose latency, or whether it exceeds the bound, is known.
        late: Number of images that exceeded the bound.
        p99_ms: 99th percentile of the latencies; None for fewer than 1,000 images.
        kept: Whether at most 1% of the images were late.
    """

    rate: float
    images: int
    late: int
    p99_ms: float | None
    kept: bool


@dataclass(frozen=True)
class Clock:
    """Functions that return the time and wait, in seconds."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = Clock()


def serve(
    run_batch: Callable[[int], object], load: Load, clock: Clock = SYSTEM_CLOCK
) -> NDArray[np.int64]:
    """Process images as they arrive, in batches of those that are in the queue.

    Stops when the duration is over, or more than 1% of the images exceed the bound. The latency of
    an image in the queue, if it exceeds the bound by then, is the time that it has waited.

    Args:
        run_batch: Function that processes a number of images, 1 to `load.batch`.
        load: Arrivals.
        clock: Clock to use.

    Returns:
        Latency of each image in nanoseconds in the order of arrival, (N,) int64.
    """
    rng = np.random.default_rng(load.seed)
    count = rng.poisson(load.rate * load.seconds)
    start = clock.now()
    # Given their number, the arrivals of a Poisson process are independent and uniform.
    arrivals = start + np.sort(rng.uniform(0, load.seconds, count))
    latencies = np.empty(count)
    done = late = 0
    while done < count and late <= count // 100:
        now = clock.now()
        if now >= start + load.seconds:
            break
        if arrivals[done] > now:
            clock.sleep(float(arrivals[done] - now))
            continue
        queued = int(np.searchsorted(arrivals, now, side="right")) - done
        size = min(queued, load.batch)
        run_batch(size)
        durations = clock.now() - arrivals[done : done + size]
        late += int((durations > load.bound_s).sum())
        latencies[done : done + size] = durations
        done += size
    waited = clock.now() - arrivals[done:]
    known = np.concatenate([latencies[:done], waited[waited > load.bound_s]])
    return (known * 1e9).astype(np.int64)


def try_rates(
    run_batch: Callable[[int], object], load: Load, clock: Clock = SYSTEM_CLOCK
) -> Iterator[Attempt]:
    """Find the highest rate that meets the bound by bisection, and yield each attempt.

    All attempts together take `load.seconds` and at most one run of the model more. A short
    duration allows fewer attempts.

    Args:
        run_batch: Function that processes a number of images, 1 to `load.batch`.
        load: Arrivals at the upper limit of the rate.
        clock: Clock to use.
    """
    deadline = clock.now() + load.seconds
    low, high = 0.0, load.rate
    count = min(MAX_RATES, max(1, int(high / 2 * load.seconds / MIN_IMAGES)))
    for number in range(count):
        seconds = (deadline - clock.now()) / (count - number)
        if seconds <= 0:
            return
        rate = (low + high) / 2
        attempt = replace(load, rate=rate, seconds=seconds, seed=load.seed + number)
        result = summarize_attempt(serve(run_batch, attempt, clock), attempt)
        yield result
        low, high = (rate, high) if result.kept else (low, rate)


def summarize_attempt(latencies: NDArray[np.int64], load: Load) -> Attempt:
    """Return the result of a rate; one without images does not meet the bound.

    Args:
        latencies: (N,) int64, nanoseconds.
        load: Arrivals of the images.
    """
    images, late = latencies.size, int((latencies > load.bound_s * 1e9).sum())
    p99_ms = float(np.percentile(latencies, 99)) / 1e6 if images >= MIN_P99_VALUES else None
    return Attempt(load.rate, images, late, p99_ms, images > 0 and late <= images // 100)
