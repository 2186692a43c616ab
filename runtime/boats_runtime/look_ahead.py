"""Work done in threads a little ahead of whoever asks for it, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
        waiting = deque(pool.submit(function, item) for item in islice(left, depth))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(left, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
