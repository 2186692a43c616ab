import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from boats_runtime.prefetch import prefetch, prefetch_batches

PATIENCE = 30
"""Seconds after which a test gives up instead of hanging."""


def endless(taken: list[int]) -> Iterator[int]:
    for number in itertools.count():
        taken.append(number)
        yield number


def threads_left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("look-ahead")]


def test_look_ahead__order_is_kept() -> None:
    def slower_the_earlier(number: int) -> int:
        time.sleep((4 - number % 5) * 0.005)
        return number * 10

    results = list(prefetch(slower_the_earlier, range(20), 5))
    assert results == list(range(0, 200, 10))


def test_look_ahead__later_items_are_worked_on_before_they_are_asked_for() -> None:
    second_is_done = threading.Event()

    def work(number: int) -> bool:
        if number == 0:
            return second_is_done.wait(PATIENCE)
        second_is_done.set()
        return True

    assert list(prefetch(work, range(2), 2)) == [True, True]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_look_ahead__takes_no_more_than_its_depth_ahead(depth: int) -> None:
    taken: list[int] = []
    results = prefetch(lambda number: number, endless(taken), depth)
    assert taken == []
    for given, result in enumerate(itertools.islice(results, 20), start=1):
        assert result == given - 1
        assert given <= len(taken) <= given + depth
    results.close()


@pytest.mark.parametrize(("count", "depth"), [(0, 3), (1, 3), (3, 3), (4, 3), (4, 1), (50, 3)])
def test_look_ahead__every_item_once(count: int, depth: int) -> None:
    assert list(prefetch(str, range(count), depth)) == [str(n) for n in range(count)]
    assert not threads_left()


def test_look_ahead__error_comes_at_its_item() -> None:
    def inverse(number: int) -> float:
        return 1 / (number - 3)

    results = prefetch(inverse, itertools.count(), 6)
    assert [next(results) for _ in range(3)] == [1 / -3, 1 / -2, 1 / -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
    assert not threads_left()


def test_look_ahead__error_of_the_items() -> None:
    def items() -> Iterator[int]:
        yield from range(2)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(prefetch(abs, items(), 1))
    assert not threads_left()


def test_look_ahead__closed_early() -> None:
    taken: list[int] = []
    done: list[int] = []
    results = prefetch(done.append, endless(taken), 4)
    next(results)
    assert threads_left()
    results.close()
    assert not threads_left()
    assert len(done) <= len(taken) <= 5
    assert list(results) == []


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_look_ahead__error_of_the_items_comes_after_what_they_gave(depth: int) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the folder is gone")

    stream = prefetch(str, items(), depth)
    assert [next(stream) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(OSError, match="the folder is gone"):
        next(stream)


def test_look_ahead_in_batches__fill_while_nobody_asks() -> None:
    batches = prefetch_batches(str, range(20), 8, 4)
    sizes = []
    for batch in batches:
        sizes.append(len(batch))
        time.sleep(0.1)  # a network that takes longer than the photos
    assert sum(sizes) == 20
    assert sizes[1:-1] == [4] * len(sizes[1:-1])


def test_look_ahead_in_batches__nobody_waits_for_a_full_one() -> None:
    last_may_go = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            assert last_may_go.wait(PATIENCE)
        return number

    batches = prefetch_batches(work, range(2), 8, 4)
    assert next(batches) == [0]
    last_may_go.set()
    assert list(batches) == [[1]]


@pytest.mark.parametrize("most", [1, 3, 50])
def test_look_ahead_in_batches__every_item_once_and_in_order(most: int) -> None:
    batches = list(prefetch_batches(str, range(50), 6, most))
    assert [item for batch in batches for item in batch] == [str(n) for n in range(50)]
    assert max(map(len, batches)) <= min(most, 6)
    assert not threads_left()
