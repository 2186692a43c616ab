"""Progress of long work: one line on a terminal, nothing elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from boats_runtime.text import escape_text

Item = TypeVar("Item")

INTERVAL_S = 0.2
"""Seconds between two updates of the line."""


def track(
    items: Iterable[Item], title: str, total: int | None = None, step: int = 1
) -> Iterator[Item]:
    """Yield the items and show on stderr how many are done, if it is a terminal.

    Args:
        items: Work items.
        title: Text shown after the count.
        total: Final count; None if it is not known.
        step: Amount that each item adds to the count.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    started = updated = time.monotonic()
    count = 0
    try:
        for item in items:
            yield item
            count += step
            now = time.monotonic()
            if now - updated >= INTERVAL_S:
                updated = now
                sys.stderr.write(f"\r\033[K{_describe(count, total, title, now - started)} ")
                sys.stderr.flush()
    finally:
        # Clear the line: the next output is a message or the prompt.
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()


def _describe(count: int, total: int | None, title: str, elapsed: float) -> str:
    rate = count / elapsed
    title = escape_text(title)
    if total is None:
        return f"{count} {title}, {rate:.1f}/s"
    count = min(count, total)
    remaining = round((total - count) / rate)
    return f"{count}/{total} {title}, {rate:.1f}/s, {remaining // 60}:{remaining % 60:02} left"
