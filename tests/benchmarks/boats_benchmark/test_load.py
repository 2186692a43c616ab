import numpy as np
import pytest

from boats_benchmark.load import Load, highest_rate, serve


class FakeServer:
    """A clock, and answers that take so long: some seconds a call, and some a photo."""

    def __init__(self, call_s: float, photo_s: float = 0.0) -> None:
        self.now = 1000.0
        self.sizes: list[int] = []
        self._call_s, self._photo_s = call_s, photo_s

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def answer(self, count: int) -> None:
        self.sizes.append(count)
        self.now += self._call_s + count * self._photo_s

    def serve(self, load: Load) -> np.ndarray:
        return serve(self.answer, load, self.clock, self.sleep) / 1e9


def test_serve__without_a_queue_latency_is_the_answers_own() -> None:
    server = FakeServer(0.001)
    latencies = server.serve(Load(rate=1.0, count=200, batch=1))
    assert np.median(latencies) == pytest.approx(0.001, abs=1e-6)
    assert server.sizes == [1] * 200


def test_serve__arrivals_are_a_poisson_process() -> None:
    server = FakeServer(0.0)
    server.serve(Load(rate=50.0, count=5000, batch=1))
    assert server.now - 1000 == pytest.approx(100, rel=0.05)  # 5,000 photos at 50 a second


def test_serve__waiting_counts() -> None:
    # M/D/1 at half the load: a photo waits as long as an answer takes, half of it on average.
    server = FakeServer(0.1)
    latencies = server.serve(Load(rate=5.0, count=20_000, batch=1))
    assert latencies.mean() == pytest.approx(0.1 + 0.05, rel=0.05)
    assert latencies.min() >= 0.1 - 1e-9


def test_serve__those_that_wait_are_answered_together() -> None:
    server = FakeServer(1.0)
    latencies = server.serve(Load(rate=20.0, count=400, batch=8))
    assert max(server.sizes) == 8
    assert sum(server.sizes) == 400
    assert len(latencies) == 400
    # More arrive than can be answered: the last one has waited for all before it.
    assert latencies[-1] > 20


def test_serve__a_lost_bound_is_given_up() -> None:
    server = FakeServer(1.0)
    latencies = server.serve(Load(rate=20.0, count=1000, batch=1, bound_s=3.0))
    assert np.count_nonzero(latencies > 3.0) == 11  # more than 1 % of 1,000
    assert len(latencies) < 20
    kept = FakeServer(0.01).serve(Load(rate=5.0, count=1000, batch=1, bound_s=3.0))
    assert len(kept) == 1000


def test_serve__same_seed_same_arrivals() -> None:
    runs = [FakeServer(0.01).serve(Load(10.0, 50, 1, seed)) for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("limit", [3.0, 50.0, 77.7])
def test_highest_rate__is_close_below_the_limit(limit: float) -> None:
    rate = highest_rate(lambda tried: tried <= limit, ceiling=100.0, trials=8)
    assert rate is not None
    assert limit - 100 / 2**8 <= rate <= limit


def test_highest_rate__none_keeps_the_bound() -> None:
    assert highest_rate(lambda _: False, 100.0) is None
