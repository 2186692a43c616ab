"""Photos as they land in a folder: each once, when it is fully written, also after a restart.

The folder is read again and again rather than asked for events, which network shares and cameras'
cards don't send. What was done stands in a journal, a line of JSON for each photo: its name, size
and time of change. A photo that is written anew is a new photo.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from boats_runtime.cli.inputs import find_images
from boats_runtime.errors import DataError, OutputError
from boats_runtime.files import write_atomic

PAUSE_S = 0.5
"""Between two looks at the folder; a photo that did not change in between counts as written."""

PATIENCE_S = 10.0
"""How long a photo that can't be decoded may still be on its way, after its last change."""

SLACK = 1000
"""Lines of photos that are gone, before the journal is written anew."""

Stamp = tuple[int, int]
"""A file's size in bytes, and its time of change in nanoseconds."""


@dataclass
class Landed:
    """A photo in the folder that is not done yet.

    Attributes:
        path: Its file.
        stamp: Of the file as it was seen.
        since: When it was first seen so, by the monotonic clock, in seconds.
        tried: Whether it could not be decoded so far.
        last_call: Whether it has had its time: what can't be decoded now is broken.
    """

    path: Path
    stamp: Stamp
    since: float
    tried: bool = False
    last_call: bool = False


class Watch:
    """A folder that photos land in, and the journal of those that are done.

    Args:
        folder: With those below it; hidden ones are left out.
        journal: Made when missing.

    Raises:
        DataError: The journal holds something else.
        OutputError: The journal can't be read or written.
    """

    def __init__(self, folder: Path, journal: Path) -> None:
        self._folder = folder
        self._journal = journal
        self._waiting: dict[str, Landed] = {}
        self._done, whole = _read_journal(journal)
        self._lines = len(self._done)
        if not whole:
            self._rewrite()
        try:
            self._stream = journal.open("ab")
        except OSError as error:
            raise _unwritable(journal, error) from error

    def close(self) -> None:
        """Closes the journal."""
        self._stream.close()

    def look(self) -> list[Landed]:
        """Reads the folder, and returns the photos that are fully written and not done, by name."""
        now = time.monotonic()
        there: dict[str, Landed] = {}
        ready = []
        names = set()
        for path in find_images(self._folder):
            try:
                status = path.stat()
            except OSError:  # gone again
                continue
            name = str(path)
            names.add(name)
            stamp = (status.st_size, status.st_mtime_ns)
            if self._done.get(name) == stamp:
                continue
            landed = self._waiting.get(name)
            if landed is None or landed.stamp != stamp:
                there[name] = Landed(path, stamp, now)
                continue
            there[name] = landed
            landed.last_call = now - landed.since >= PATIENCE_S
            if not landed.tried or landed.last_call:
                ready.append(landed)
        self._waiting = there
        # A folder that is empty all of a sudden may be a disk that was taken out.
        if names:
            self._done = {name: stamp for name, stamp in self._done.items() if name in names}
        return ready

    def done(self, landed: Landed) -> None:
        """Writes into the journal that a photo is done.

        Raises:
            OutputError: It can't be written.
        """
        name = str(landed.path)
        self._waiting.pop(name, None)
        self._done[name] = landed.stamp
        self._lines += 1
        try:
            self._stream.write(_to_line(name, landed.stamp))
            self._stream.flush()
            if self._lines > 2 * len(self._done) + SLACK:
                self._stream.close()
                self._rewrite()
                self._stream = self._journal.open("ab")
        except OSError as error:
            raise _unwritable(self._journal, error) from error

    def _rewrite(self) -> None:
        lines = [_to_line(name, stamp) for name, stamp in self._done.items()]
        write_atomic(self._journal, b"".join(lines))
        self._lines = len(lines)


def land(watch: Watch) -> Iterator[list[Landed]]:
    """Yields what has landed, for ever; with pauses."""
    while True:
        yield watch.look()
        time.sleep(PAUSE_S)


def _to_line(name: str, stamp: Stamp) -> bytes:
    return (json.dumps([name, *stamp]) + "\n").encode()


def _read_journal(path: Path) -> tuple[dict[str, Stamp], bool]:
    """Returns the photos that are done, and whether the last line is whole: a kill may tear it."""
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise _unwritable(path, error) from error
    done: dict[str, Stamp] = {}
    for number, line in enumerate(lines, 1):
        try:
            name, size, changed = json.loads(line)
            done[str(name)] = (int(size), int(changed))
        except (ValueError, TypeError, RecursionError) as error:
            if number == len(lines) and not line.endswith(b"\n") and line.startswith(b"["):
                return done, False
            raise DataError(
                f"{path}: line {number} is none of boats-predict --watch; name another --journal"
            ) from error
    return done, not lines or lines[-1].endswith(b"\n")


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: can't be written: {error.strerror}; name another --journal")
