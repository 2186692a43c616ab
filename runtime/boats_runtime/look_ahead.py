"""Work done in threads a little ahead of whoever asks for it, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def look_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Yields the results in the items' order; at most `depth` of them wait, so memory stays flat.

    Args:
        function: Called in threads, as with decoding, which lets go of the interpreter's lock.
        items: Taken one by one, as results are asked for.
        depth: How many are under way or ready before they are asked for, 1 or more.
    """
    with ThreadPoolExecutor(thread_name_prefix="look-ahead") as pool:
        left = iter(items)
        waiting: deque[Future[Result]] = deque()
        failures: list[Exception] = []

        def fill() -> None:
            try:
                for item in islice(left, depth - len(waiting)):
                    waiting.append(pool.submit(function, item))
            except Exception as error:  # noqa: BLE001 (raised again, after what came before it)
                failures.append(error)

        fill()
        try:
            while waiting:
                result = waiting.popleft().result()
                if not failures:
                    fill()
                yield result
        finally:
            for future in waiting:
                future.cancel()
        for failure in failures:
            raise failure
