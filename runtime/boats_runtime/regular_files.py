"""Reading of regular files: a FIFO, a device or a socket could block or have no end."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

NOT_REGULAR = "not a regular file"
"""Text of the error if a path is something else."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: If it cannot be opened, or is a FIFO, a device or a socket; nothing is read from
            these, and the text of the error is `NOT_REGULAR`.
    """
    try:
        stream = open(path, "rb", opener=open_nonblocking)  # noqa: SIM115 - returned
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _create_error(path) from error
        raise
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise _create_error(path)
    return stream


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: As `open_regular`.
    """
    with open_regular(path) as stream:
        return stream.read()


def open_nonblocking(path: str, flags: int) -> int:
    """Open a file as `os.open` does, but do not wait for a process that writes to a FIFO."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such files


def _create_error(path: Path) -> OSError:
    return OSError(errno.EINVAL, NOT_REGULAR, str(path))
