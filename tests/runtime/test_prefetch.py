import itertools
import sys
import threading
from collections.abc import Iterator

import pytest

from boats_runtime.prefetch import prefetch, prefetch_batches

TIMEOUT_S = 30
"""Time after which a test fails instead of waiting forever."""


def count_up(numbers: list[int]) -> Iterator[int]:
    """Yield 0, 1, 2, ... and add each number to a list when it is read."""
    for number in itertools.count():
        numbers.append(number)
        yield number


def list_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_prefetch__computes_ahead_and_keeps_the_order() -> None:
    second_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_done.wait(TIMEOUT_S)
        second_done.set()
        return number

    assert list(prefetch(work, range(2), 2)) == [0, 1]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_prefetch__reads_at_most_depth_items_ahead(depth: int) -> None:
    numbers: list[int] = []
    results = prefetch(lambda number: number, count_up(numbers), depth)
    assert numbers == []
    for count, result in enumerate(itertools.islice(results, 20), start=1):
        assert result == count - 1
        assert count <= len(numbers) <= count + depth
    results.close()


@pytest.mark.parametrize(("count", "depth"), [(0, 3), (1, 3), (3, 3), (4, 3), (4, 1), (50, 3)])
def test_prefetch__every_item_once(count: int, depth: int) -> None:
    assert list(prefetch(str, range(count), depth)) == [str(number) for number in range(count)]
    assert not list_threads()


def test_prefetch__exception_of_the_function() -> None:
    def invert(number: int) -> float:
        return 1 / (number - 3)

    results = prefetch(invert, itertools.count(), 6)
    assert [next(results) for _ in range(3)] == [1 / -3, 1 / -2, 1 / -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
    assert not list_threads()


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("max_batch", [1, 4])
def test_prefetch_batches__exception_of_the_items(depth: int, max_batch: int) -> None:
    def read_items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the folder is gone")

    results = []

    def collect() -> None:
        for batch in prefetch_batches(str, read_items(), depth, max_batch):
            results.extend(batch)

    with pytest.raises(OSError, match="the folder is gone"):
        collect()
    assert results == ["0", "1", "2"]
    assert not list_threads()


def test_prefetch__closed_early() -> None:
    numbers: list[int] = []
    finished: list[int] = []
    results = prefetch(finished.append, count_up(numbers), 4)
    next(results)
    assert list_threads()
    results.close()
    assert not list_threads()
    assert len(finished) <= len(numbers) <= 5
    assert list(results) == []


def test_prefetch_batches__fills_while_the_caller_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    # With one thread an item starts when the result before it is ready.
    monkeypatch.setattr(sys.modules["boats_runtime.prefetch"], "granted_cpus", lambda: 0)
    started = [threading.Event() for _ in range(20)]

    def work(number: int) -> int:
        started[number].set()
        return number

    batches = prefetch_batches(work, range(20), 8, 4)
    first = next(batches)
    assert started[len(first) + 4].wait(TIMEOUT_S)
    assert next(batches) == list(range(len(first), len(first) + 4))


def test_prefetch_batches__never_waits_to_fill_a_batch() -> None:
    released = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            assert released.wait(TIMEOUT_S)
        return number

    batches = prefetch_batches(work, range(2), 8, 4)
    assert next(batches) == [0]
    released.set()
    assert list(batches) == [[1]]


@pytest.mark.parametrize("max_batch", [1, 3, 50])
def test_prefetch_batches__every_item_once_and_in_order(max_batch: int) -> None:
    batches = list(prefetch_batches(str, range(50), 6, max_batch))
    assert [item for batch in batches for item in batch] == [str(number) for number in range(50)]
    assert max(map(len, batches)) <= min(max_batch, 6)
