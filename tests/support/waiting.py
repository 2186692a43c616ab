"""Wait for conditions outside the test process."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Poll a condition until it is true; fail the test after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"timeout after {timeout_s} s"
        time.sleep(0.002)
