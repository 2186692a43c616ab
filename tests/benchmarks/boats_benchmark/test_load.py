import numpy as np
import pytest

from boats_benchmark.load import (
    MAX_RATES,
    Attempt,
    Clock,
    Load,
    serve,
    summarize_attempt,
    try_rates,
)


class FakeServer:
    """A clock, and a model whose runs take a time per call and a time per image, in seconds."""

    def __init__(self, call_s: float, image_s: float = 0.0) -> None:
        self.now = 1000.0
        self.sizes: list[int] = []
        self._call_s, self._image_s = call_s, image_s
        self._clock = Clock(lambda: self.now, self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def run_batch(self, size: int) -> None:
        self.sizes.append(size)
        self.now += self._call_s + size * self._image_s

    def serve(self, load: Load) -> np.ndarray:
        """Return the latencies in seconds."""
        return serve(self.run_batch, load, self._clock) / 1e9

    def try_rates(self, load: Load) -> list[Attempt]:
        return list(try_rates(self.run_batch, load, self._clock))


def test_serve__latency_without_a_queue() -> None:
    server = FakeServer(0.001)
    latencies = server.serve(Load(rate=1.0, seconds=200, batch=1))
    assert np.median(latencies) == pytest.approx(0.001, abs=1e-6)
    assert server.sizes == [1] * len(latencies)


def test_serve__arrivals_have_the_mean_rate() -> None:
    server = FakeServer(0.0)
    latencies = server.serve(Load(rate=50.0, seconds=100, batch=1))
    assert len(latencies) == pytest.approx(5000, rel=0.05)
    assert 99 < server.now - 1000 <= 100


def test_serve__latency_includes_the_queue() -> None:
    # M/D/1 queue at half the capacity: the mean waiting time is half the service time.
    latencies = FakeServer(0.1).serve(Load(rate=5.0, seconds=4000, batch=1))
    assert latencies.mean() == pytest.approx(0.1 + 0.05, rel=0.05)
    assert latencies.min() >= 0.1 - 1e-9


def test_serve__queued_images_form_batches() -> None:
    server = FakeServer(1.0)
    latencies = server.serve(Load(rate=20.0, seconds=20, batch=8))
    assert max(server.sizes) == 8
    assert sum(server.sizes) == len(latencies)
    assert latencies[-1] > 10  # overloaded: the queue grows


@pytest.mark.parametrize(("call_s", "stops"), [(1.0, True), (0.01, False)])
def test_serve__stops_when_the_bound_is_exceeded(call_s: float, stops: bool) -> None:
    server = FakeServer(call_s)
    latencies = server.serve(Load(rate=20.0, seconds=50, batch=1, bound_s=3.0))
    assert bool(np.count_nonzero(latencies > 3.0) > len(latencies) // 100) is stops
    assert (server.now - 1000 < 20) is stops


@pytest.mark.parametrize(("bound_s", "late"), [(10.0, True), (1000.0, False)])
def test_serve__stops_when_the_duration_is_over(bound_s: float, late: bool) -> None:
    """A run takes 8 s; images that wait for longer than the bound are late without a run."""
    server = FakeServer(8.0)
    load = Load(rate=2.0, seconds=15, batch=1, bound_s=bound_s)
    latencies = server.serve(load)
    assert server.now - 1000 <= load.seconds + 8.0
    assert len(server.sizes) == 2
    assert bool(np.count_nonzero(latencies > bound_s) > len(server.sizes)) is late


def test_serve__seed_determines_the_arrivals() -> None:
    first, same, other = (
        FakeServer(0.01).serve(Load(10.0, 5, 1, seed=seed)).tolist() for seed in (0, 0, 1)
    )
    assert first == same != other


@pytest.mark.parametrize("image_s", [0.15, 0.002])
@pytest.mark.parametrize("bound_s", [0.001, 0.2, 1e9])
@pytest.mark.parametrize("batch", [1, 8])
def test_try_rates__all_attempts_take_the_duration(
    image_s: float, bound_s: float, batch: int
) -> None:
    server = FakeServer(0.0, image_s)
    attempts = server.try_rates(Load(1 / image_s, 10.0, batch, bound_s))
    assert server.now - 1000 <= 10.0 + image_s * batch
    assert 1 <= len(attempts) <= MAX_RATES
    assert len(server.sizes) <= 10 / image_s + 1


def test_try_rates__highest_rate_that_meets_the_bound() -> None:
    """1% of an M/D/1 queue waits for more than two service times at a load of 31.8%."""
    attempts = FakeServer(0.01).try_rates(Load(100.0, 6000.0, 1, bound_s=0.03))
    assert len(attempts) == MAX_RATES
    rate = max(attempt.rate for attempt in attempts if attempt.kept)
    assert rate == min(attempt.rate for attempt in attempts if not attempt.kept) - 100 / 2**6
    assert rate == pytest.approx(31.8, abs=100 / 2**6)
    assert all(attempt.kept == (attempt.p99_ms <= 30) for attempt in attempts if attempt.p99_ms)


@pytest.mark.parametrize(("seconds", "count"), [(10.0, 1), (60.0, 2), (600.0, MAX_RATES)])
def test_try_rates__a_short_duration_has_fewer_rates(seconds: float, count: int) -> None:
    assert len(FakeServer(0.14).try_rates(Load(7.0, seconds, 1))) == count


@pytest.mark.parametrize(
    ("late", "count", "kept"),
    [(0, 0, False), (0, 17, True), (1, 99, False), (1, 100, True), (11, 1000, False)],
)
def test_summarize_attempt__at_most_one_percent_late(late: int, count: int, kept: bool) -> None:
    latencies = np.array([5_000_000] * late + [1_000_000] * (count - late), dtype=np.int64)
    attempt = summarize_attempt(latencies, Load(10.0, 1.0, 1, bound_s=0.002))
    assert (attempt.images, attempt.late, attempt.kept) == (count, late, kept)
    assert (attempt.p99_ms is None) is (count < 1000)
