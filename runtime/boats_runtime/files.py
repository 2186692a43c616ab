"""Files that are whole or not there."""

import os
from pathlib import Path

from boats_runtime.errors import OutputError


def write_atomic(path: Path, content: bytes) -> None:
    """Writes a file so that a kill leaves the old one or the new one.

    Raises:
        OutputError: The place can't be written, or the disk is full.
    """
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with scratch.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise OutputError(f"{path}: can't be written: {error.strerror}") from error
