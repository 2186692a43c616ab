"""A file of results that an interrupted call can go on with: a line of JSON for each photo."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from boats_runtime.errors import OutputError, UsageError


@contextmanager
def open_output(path: Path, *, resume: bool) -> Iterator[tuple[BinaryIO, frozenset[str]]]:
    """Opens a file for results.

    A kill can leave half a line at its end: that one is cut off, and its photo done again.

    Args:
        path: The file; made when missing.
        resume: Whether to go on after the results that are in it.

    Yields:
        The file, to be appended to, and the names of the photos that are in it already.

    Raises:
        UsageError: The file is there and `resume` is not asked for, or it holds something else.
        OutputError: It can't be written.
    """
    try:
        if path.exists() and not resume:
            raise UsageError(f"--output {path}: is there already; --resume goes on with it")
        with path.open("ab+") as stream:
            done = _read_done(path, stream)
            yield stream, done
    except OSError as error:
        raise OutputError(f"--output {path}: can't be written: {error.strerror}") from error


def _read_done(path: Path, stream: BinaryIO) -> frozenset[str]:
    """Reads the names of finished photos, and cuts off what follows the last whole line."""
    stream.seek(0)
    done = set()
    end = 0
    for number, line in enumerate(stream, 1):
        whole = line.endswith(b"\n")
        try:
            name = str(json.loads(line)["path"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            # Only what can be half a result is cut off: the file may be somebody's notes.
            torn = not whole and line.startswith(b"{") and isinstance(error, ValueError)
            if not torn:
                raise UsageError(
                    f"--output {path}: line {number} is no result of boats-predict; "
                    "name another file"
                ) from error
        if not whole:
            stream.truncate(end)
            break
        done.add(name)
        end += len(line)
    return frozenset(done)
