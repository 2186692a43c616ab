"""Computation of results in threads before they are needed, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from boats_runtime.cpu import granted_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Yield the results of a function in the order of the items.

    Args:
        function: Function that releases the GIL most of the time, such as decoding; called in
            threads.
        items: Arguments of the function; read only as far ahead as `depth`.
        depth: Maximum number of results computed ahead, 1 or more.
    """
    for batch in prefetch_batches(function, items, depth, 1):
        yield from batch


def prefetch_batches(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int, max_batch: int
) -> Generator[list[Result]]:
    """Yield lists of up to `max_batch` results that are ready. Never wait to fill a batch.

    An exception of the function or of the items is raised after the results of all earlier items.

    Args:
        function: As in `prefetch`.
        items: As in `prefetch`.
        depth: As in `prefetch`.
        max_batch: Maximum batch size, 1 or more.
    """
    threads = min(depth, granted_cpus() + 1)  # one more, because a thread may wait for a disk
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as pool:
        remaining = iter(items)
        pending: deque[Future[Result]] = deque()

        def submit_items() -> None:
            try:
                for item in islice(remaining, depth - len(pending)):
                    pending.append(pool.submit(function, item))
            except Exception as error:  # noqa: BLE001
                failed: Future[Result] = Future()
                failed.set_exception(error)
                pending.append(failed)

        submit_items()
        try:
            while pending:
                batch = [pending.popleft().result()]
                while len(batch) < max_batch and pending and _succeeded(pending[0]):
                    batch.append(pending.popleft().result())
                submit_items()
                yield batch
        finally:
            for future in pending:
                future.cancel()


def _succeeded(future: Future[Result]) -> bool:
    return future.done() and future.exception() is None
