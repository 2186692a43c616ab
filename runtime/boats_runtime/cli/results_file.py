"""Result file of `--output`, which an interrupted call can continue: one JSON object per line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from boats_runtime.cli.json_lines import read_json_lines
from boats_runtime.errors import OutputError, UsageError


@contextmanager
def open_results(path: Path, *, resume: bool) -> Iterator[tuple[TextIO, frozenset[str]]]:
    """Open a result file to append to it.

    An incomplete last line, left by a killed process, is removed; its image is classified again.

    Args:
        path: File; created if missing.
        resume: Whether the file may exist.

    Yields:
        The text stream and the names of the images that have a result in the file.

    Raises:
        UsageError: If the file exists and `resume` is false, or it has other content.
        OutputError: If the file cannot be written.
    """
    try:
        if path.exists() and not resume:
            raise UsageError(f"--output {path}: file exists; add --resume to continue it")
        with path.open("ab+") as file:
            names = _read_names(path, file)
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            yield stream, names
    except OSError as error:
        raise OutputError(f"--output {path}: cannot be written: {error.strerror}") from error


def _read_names(path: Path, file: BinaryIO) -> frozenset[str]:
    try:
        return frozenset(read_json_lines(file, b"{", lambda result: str(result["path"])))
    except ValueError as error:
        raise UsageError(
            f"--output {path}: {error} is not a result of boats-predict; choose another file"
        ) from error
