"""Limits of time and memory for a model that is not trusted: `boats-predict --timeout SECONDS`."""

import contextlib
import math
import os
import signal
import sys
from types import FrameType

from boats_runtime.cpu import granted_cpus
from boats_runtime.errors import ModelError, UsageError

MEMORY_BYTES = 8 << 30
"""Address space of the child process: the largest model file twice, its results, and libraries."""


def continue_in_child(seconds: float, provider: str) -> str:
    """Continue the command in a child process with limits.

    The parent process waits for the child and exits with its exit code. Call it before other
    threads start and before anything is printed.

    Args:
        seconds: Time after which the child is stopped.
        provider: Name of the provider. Accelerators reserve more address space than the limit of
            the memory, so it applies to the CPU only, and `auto` is the CPU.

    Returns:
        Name of the provider of the child.

    Raises:
        UsageError: If this system has no such limits.
        ModelError: In the parent, if the child is stopped by a limit or crashes.
    """
    if not hasattr(os, "fork"):
        raise UsageError("--timeout needs Linux or macOS; on Windows run boats-predict in a job")
    child = os.fork()
    if child:
        _wait(child, seconds)
    provider = "cpu" if provider == "auto" else provider
    _set_limits(seconds, limit_memory=provider == "cpu")
    return provider


def _set_limits(seconds: float, *, limit_memory: bool) -> None:
    import resource  # Windows lacks it

    # The limit of the CPU time ends the child also if its parent is gone.
    limits = {resource.RLIMIT_CPU: math.ceil(seconds * granted_cpus()) + 1}
    if limit_memory:
        limits[resource.RLIMIT_AS] = MEMORY_BYTES
    for name, value in limits.items():
        _, hard = resource.getrlimit(name)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)  # noqa: PLW2901
        with contextlib.suppress(OSError, ValueError):  # macOS refuses some of them
            resource.setrlimit(name, (value, hard))


def _wait(child: int, seconds: float) -> None:
    """Wait for the child, and exit with its exit code."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    def interrupt(_: int, __: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGINT)

    signal.signal(signal.SIGALRM, stop)
    # The child reports the interrupt and ends; so does the parent, with its exit code.
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _, status = os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise ModelError(f"stopped after {seconds:g} seconds (--timeout)") from None
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        reason = signal.Signals(-code).name
        raise ModelError(f"the process that ran the model was ended by {reason}")
    sys.stdout.flush()
    os._exit(code)
