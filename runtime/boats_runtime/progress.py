"""How far a long call has come, on a terminal only."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

PAUSE_S = 0.2
"""Between two lines."""


def show_progress(items: Iterable[Item], what: str) -> Iterator[Item]:
    """Passes items on, and shows on stderr how many and how many a second, if it is a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    started = told = time.monotonic()
    count = 0
    try:
        for item in items:
            yield item
            count += 1
            now = time.monotonic()
            if now - told >= PAUSE_S:
                told = now
                sys.stderr.write(f"\r{count} {what}, {count / (now - started):.1f}/s ")
                sys.stderr.flush()
    finally:
        # The line is wiped: what comes next is a message or the prompt.
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
