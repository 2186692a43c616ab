import numpy as np
import pytest

from boats_benchmark.load import Load, find_highest_rate, serve


class FakeServer:
    """A clock, and a model whose runs take a time per call and a time per image, in seconds."""

    def __init__(self, call_s: float, image_s: float = 0.0) -> None:
        self.now = 1000.0
        self.sizes: list[int] = []
        self._call_s, self._image_s = call_s, image_s

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def run_batch(self, size: int) -> None:
        self.sizes.append(size)
        self.now += self._call_s + size * self._image_s

    def serve(self, load: Load) -> np.ndarray:
        """Return the latencies in seconds."""
        return serve(self.run_batch, load, self.clock, self.sleep) / 1e9


def test_serve__latency_without_a_queue() -> None:
    server = FakeServer(0.001)
    latencies = server.serve(Load(rate=1.0, count=200, batch=1))
    assert np.median(latencies) == pytest.approx(0.001, abs=1e-6)
    assert server.sizes == [1] * 200


def test_serve__arrivals_have_the_mean_rate() -> None:
    server = FakeServer(0.0)
    server.serve(Load(rate=50.0, count=5000, batch=1))
    assert server.now - 1000 == pytest.approx(100, rel=0.05)  # 5,000 images at 50 per second


def test_serve__latency_includes_the_queue() -> None:
    # M/D/1 queue at half the capacity: the mean waiting time is half the service time.
    latencies = FakeServer(0.1).serve(Load(rate=5.0, count=20_000, batch=1))
    assert latencies.mean() == pytest.approx(0.1 + 0.05, rel=0.05)
    assert latencies.min() >= 0.1 - 1e-9


def test_serve__queued_images_form_batches() -> None:
    server = FakeServer(1.0)
    latencies = server.serve(Load(rate=20.0, count=400, batch=8))
    assert max(server.sizes) == 8
    assert sum(server.sizes) == len(latencies) == 400
    assert latencies[-1] > 20  # overloaded: the queue grows


@pytest.mark.parametrize(("call_s", "stops"), [(1.0, True), (0.01, False)])
def test_serve__stops_when_the_bound_is_exceeded(call_s: float, stops: bool) -> None:
    latencies = FakeServer(call_s).serve(Load(rate=20.0, count=1000, batch=1, bound_s=3.0))
    assert np.count_nonzero(latencies > 3.0) == (11 if stops else 0)  # more than 1% of 1,000
    assert (len(latencies) < 1000) is stops


def test_serve__seed_determines_the_arrivals() -> None:
    first, same, other = (
        FakeServer(0.01).serve(Load(10.0, 50, 1, seed)).tolist() for seed in (0, 0, 1)
    )
    assert first == same != other


@pytest.mark.parametrize("limit", [3.0, 50.0, 77.7])
def test_find_highest_rate__is_just_below_the_limit(limit: float) -> None:
    rate = find_highest_rate(lambda tried: tried <= limit, ceiling=100.0, steps=8)
    assert rate is not None
    assert limit - 100 / 2**8 <= rate <= limit


def test_find_highest_rate__no_rate_meets_the_bound() -> None:
    assert find_highest_rate(lambda _: False, 100.0) is None
