"""Files that are written completely or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from boats_runtime.errors import OutputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield an empty file next to a path, and move it to the path at the end of the block.

    If the block raises an exception or the process is killed, a file at the path stays unchanged.

    Raises:
        OutputError: If the file cannot be written, or an `OSError` ends the block.
    """
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        scratch.touch()
        try:
            yield scratch
            with scratch.open("r+b") as stream:
                os.fsync(stream.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that an interruption leaves the old file or the new one.

    Raises:
        OutputError: If the file cannot be written, for example because the disk is full.
    """
    with atomic_path(path) as scratch:
        scratch.write_bytes(content)
