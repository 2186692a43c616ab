"""Work done in threads a little ahead of whoever asks for it, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from boats_runtime.cpu import granted_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Yields the results in the items' order; at most `depth` of them wait, so memory stays flat.

    Args:
        function: Called in threads, as with decoding, which lets go of the interpreter's lock.
        items: Taken one by one, as results are asked for.
        depth: How many are under way or ready before they are asked for, 1 or more.
    """
    for batch in prefetch_batches(function, items, depth, 1):
        yield from batch


def prefetch_batches(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int, most: int
) -> Iterator[list[Result]]:
    """Yields the results as `prefetch`, together with those after it that are ready, too.

    Who takes longer over a batch than the threads over its items finds the next one full; who is
    quicker does not wait for it to fill.

    Args:
        function: Called in threads, as with decoding, which lets go of the interpreter's lock.
        items: Taken one by one, as results are asked for.
        depth: How many are under way or ready before they are asked for, 1 or more.
        most: Largest batch, 1 or more.
    """
    threads = min(depth, granted_cpus() + 1)  # one may wait for a disk
    with ThreadPoolExecutor(threads, thread_name_prefix="look-ahead") as pool:
        left = iter(items)
        waiting: deque[Future[Result]] = deque()
        failures: list[Exception] = []

        def fill() -> None:
            try:
                for item in islice(left, depth - len(waiting)):
                    waiting.append(pool.submit(function, item))
            except Exception as error:  # noqa: BLE001
                failures.append(error)

        fill()
        try:
            while waiting:
                batch = [waiting.popleft().result()]
                while waiting and len(batch) < most and waiting[0].done():
                    batch.append(waiting.popleft().result())
                if not failures:
                    fill()
                yield batch
        finally:
            for future in waiting:
                future.cancel()
        for failure in failures:
            raise failure
