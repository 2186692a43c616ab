"""Files of JSON lines that an interrupted command can continue."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from boats_runtime.cli.results import JsonlWriter, ResultContext, ResultWriter
from boats_runtime.errors import OutputError, UsageError
from boats_runtime.files import atomic_path
from boats_runtime.prediction import Failure, ImageInput, Outcome

Value = TypeVar("Value")


class LineError(Exception):
    """A line is a result, but not one of this call: the message says why."""


class ResultsFile:
    """The file of `--output`, with one line for each image.

    Images that failed in an earlier call are classified again. Their old lines are removed by
    `finish`, or by the next call if this one is interrupted.

    Args:
        path: File; created if missing.
        context: Values that all lines share.
        resume: Whether the file may exist.

    Attributes:
        written: Number of images that this call has classified.
        skipped: Number of images that this call has skipped.

    Raises:
        UsageError: If the file exists and `resume` is false, has other content, or was written with
            another model or threshold; it is not changed.
        OutputError: If the file cannot be written.
    """

    def __init__(self, path: Path, context: ResultContext, *, resume: bool) -> None:
        self._path = path
        self._context = context
        self.written = self.skipped = 0
        self._seen: set[str] = set()
        with self._report_errors():
            if path.exists() and not resume:
                raise UsageError(f"--output {path}: file exists; add --resume to continue it")
            lines = self._read()
            self._succeeded = dict(lines)
            self._line_count = len(lines)
            self._remove_old_lines()
            stream = path.open("a", encoding="utf-8", newline="\n")
        self._stream = stream
        self._writer: ResultWriter = JsonlWriter(stream, context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._report_errors():
            self._stream.close()

    @property
    def total(self) -> int:
        """Number of images in the file."""
        return len(self._succeeded)

    @property
    def failed(self) -> int:
        """Number of images in the file that could not be classified."""
        return list(self._succeeded.values()).count(False)

    def select_remaining(
        self, inputs: Iterable[ImageInput | Failure]
    ) -> Iterator[ImageInput | Failure]:
        """Yield the images that have no result or an error, each name once."""
        for item in inputs:
            if item.name in self._seen or self._succeeded.get(item.name):
                self.skipped += 1
            else:
                self._seen.add(item.name)
                yield item

    def write(self, outcome: Outcome) -> None:
        """Write a line and flush the file.

        Raises:
            OutputError: If the file cannot be written.
        """
        with self._report_errors():
            self._writer.write(outcome)
        self._succeeded[outcome.name] = not isinstance(outcome, Failure)
        self._line_count += 1
        self.written += 1

    def finish(self, arguments: Iterable[str]) -> None:
        """Remove the lines of earlier failures that no longer hold.

        Args:
            arguments: Names that were given, such as those of folders: a folder that was empty has
                images now if it is not reported again.

        Raises:
            OutputError: If the file cannot be written.
        """
        for name in set(arguments) - self._seen:
            if self._succeeded.get(name) is False:
                del self._succeeded[name]
        with self._report_errors():
            self._remove_old_lines()

    def _read(self) -> list[tuple[str, bool]]:
        """Return the name of each line and whether it is a prediction."""
        try:
            return read_json_lines(self._path, b"{", lambda result: _parse(result, self._context))
        except ValueError as error:
            raise UsageError(
                f"--output {self._path}: {error} is not a result of boats-predict; "
                "choose another file"
            ) from error
        except LineError as error:
            raise UsageError(f"--output {self._path}: {error}; choose another file") from error

    def _remove_old_lines(self) -> None:
        """Keep the last line of each image, in the place of its first one."""
        if self._line_count == len(self._succeeded):
            return
        path = self._path.resolve()  # a link stays a link
        with path.open("rb") as source, atomic_path(path) as scratch, scratch.open("wb") as target:
            places: dict[str, int] = {}
            end = 0
            for line in source:
                places[json.loads(line)["path"]] = end
                end += len(line)
            for name, start in places.items():
                if name in self._succeeded:
                    source.seek(start)
                    target.write(source.readline())
        self._line_count = len(self._succeeded)

    @contextmanager
    def _report_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"--output {self._path}: cannot be written: {error.strerror}"
            ) from error


def _parse(result: Any, context: ResultContext) -> tuple[str, bool]:
    name, status = str(result["path"]), result["status"]
    if status == "error":
        return name, False
    if result["model"] != context.model:
        raise LineError(f"is of another model ({result['model'][:12]})")
    if "threshold" not in result:  # written by 0.1.0
        if result["unknown"] != (result["score"] < context.threshold):
            raise LineError("has another threshold")
    elif result["threshold"] != context.threshold:
        raise LineError(
            f"has the threshold {result['threshold']:g}, this call {context.threshold:g}"
        )
    return name, True


def read_json_lines(path: Path, start: bytes, parse: Callable[[Any], Value]) -> list[Value]:
    """Parse the lines of a file; remove an incomplete last line, left by a killed process.

    Args:
        path: File; created if missing.
        start: First byte of each line; an incomplete line that starts otherwise is not removed.
        parse: Function that converts the JSON value of a line.

    Raises:
        ValueError: If a line has other content; the message is its number: "line 3".
        LineError: If `parse` raises it; the number is put before its message.
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
            except LineError as error:
                raise LineError(f"line {number} {error}") from error
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if complete or not line.startswith(start) or not isinstance(error, ValueError):
                    raise ValueError(f"line {number}") from error
            if not complete:
                stream.truncate(end)
                break
            values.append(value)
            end += len(line)
    return values
