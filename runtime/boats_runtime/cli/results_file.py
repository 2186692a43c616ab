"""Files of JSON lines that an interrupted command can continue."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from boats_runtime.errors import OutputError, UsageError

Value = TypeVar("Value")


@contextmanager
def open_results(path: Path, *, resume: bool) -> Iterator[tuple[TextIO, frozenset[str]]]:
    """Open the file of `--output` to append to it; create it if missing.

    Yields:
        The text stream and the names of the images that have a result in the file.

    Raises:
        UsageError: If the file exists and `resume` is false, or it has other content.
        OutputError: If the file cannot be written.
    """
    try:
        if path.exists() and not resume:
            raise UsageError(f"--output {path}: file exists; add --resume to continue it")
        try:
            names = read_json_lines(path, b"{", lambda result: str(result["path"]))
        except ValueError as error:
            raise UsageError(
                f"--output {path}: {error} is not a result of boats-predict; choose another file"
            ) from error
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            yield stream, frozenset(names)
    except OSError as error:
        raise OutputError(f"--output {path}: cannot be written: {error.strerror}") from error


def read_json_lines(path: Path, start: bytes, parse: Callable[[Any], Value]) -> list[Value]:
    """Parse the lines of a file; remove an incomplete last line, left by a killed process.

    Args:
        path: File; created if missing.
        start: First byte of each line; an incomplete line that starts otherwise is not removed.
        parse: Function that converts the JSON value of a line.

    Raises:
        ValueError: If a line has other content; the message is its number: "line 3".
        OSError: If the file cannot be read and written.
    """
    values = []
    end = 0
    with path.open("ab+") as stream:
        stream.seek(0)
        for number, line in enumerate(stream, 1):
            complete = line.endswith(b"\n")
            try:
                value = parse(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if complete or not line.startswith(start) or not isinstance(error, ValueError):
                    raise ValueError(f"line {number}") from error
            if not complete:
                stream.truncate(end)
                break
            values.append(value)
            end += len(line)
    return values
