"""New images in a folder, classified once when they are completely written, also after a restart.

The folder is polled: network shares and camera cards do not send file system events. A journal
lists the classified files with size and modification time, one JSON array per line; a file that is
written again counts as a new image.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from boats_runtime.classifier import Classifier
from boats_runtime.cli.inputs import find_images
from boats_runtime.cli.results import ResultWriter
from boats_runtime.cli.results_file import read_json_lines
from boats_runtime.errors import DataError, OutputError
from boats_runtime.files import write_atomic
from boats_runtime.prediction import Failure

POLL_INTERVAL_S = 0.5
"""Time between two polls; a file that did not change between them counts as written."""

DECODE_TIMEOUT_S = 10.0
"""Time since its last change after which a file that cannot be decoded counts as broken."""

MAX_STALE_LINES = 1000
"""Number of outdated lines at which the journal is rewritten."""

MAX_MISSING = 100_000
"""Number of recorded images in folders that are gone; the oldest ones are forgotten first."""

FileVersion = tuple[int, int]
"""Size of a file in bytes and its modification time in nanoseconds."""


@dataclass
class PendingFile:
    """An image in the folder without a result.

    Attributes:
        since: Monotonic time in seconds at which this version was first seen.
        decode_failed: Whether the last attempt to decode it failed.
        timed_out: Whether the next attempt is the last one.
    """

    path: Path
    version: FileVersion
    since: float
    decode_failed: bool = False
    timed_out: bool = False


class Journal:
    """Persistent record of classified files.

    Args:
        path: File; created if missing.

    Attributes:
        versions: Version of each classified file by its name.

    Raises:
        DataError: If the file has other content.
        OutputError: If the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            entries = read_json_lines(path, b"[", _parse_entry)
        except OSError as error:
            raise self._create_error(error) from error
        except ValueError as error:
            raise DataError(
                f"{path}: {error} is not an entry of boats-predict --watch; "
                "choose another --journal"
            ) from error
        self.versions = dict(entries)
        self._line_count = len(entries)

    def add(self, name: str, version: FileVersion) -> None:
        """Record a classified file.

        Raises:
            OutputError: If the journal cannot be written.
        """
        with self.record(name, version):
            pass

    @contextmanager
    def record(self, name: str, version: FileVersion) -> Iterator[None]:
        """Record a file as soon as the block has written its result.

        The journal is opened before, so that as little as possible is between the two: a kill there
        repeats the result.

        Raises:
            OutputError: If the journal cannot be written.
        """
        entry = _format_entry(name, version)
        try:
            stream = self._path.open("ab")
        except OSError as error:
            raise self._create_error(error) from error
        with stream:
            yield
            try:
                stream.write(entry)
                stream.flush()
            except OSError as error:
                raise self._create_error(error) from error
        self.versions[name] = version
        self._line_count += 1
        if self._line_count > 2 * len(self.versions) + MAX_STALE_LINES:
            lines = [_format_entry(*entry) for entry in self.versions.items()]
            write_atomic(self._path, b"".join(lines))
            self._line_count = len(lines)

    def forget_removed(self, present: set[str]) -> None:
        """Forget the images that were removed.

        A folder without any image can be a disk that is gone for a while. Its images are forgotten
        only if they are the oldest of more than `MAX_MISSING`.

        Args:
            present: Names of all images in the folder.
        """
        missing = [name for name in self.versions if name not in present]
        if not missing:
            return
        folders = {os.path.dirname(name) for name in present}  # noqa: PTH120
        uncertain = [name for name in missing if os.path.dirname(name) not in folders]  # noqa: PTH120
        kept = set(uncertain[-MAX_MISSING:])
        for name in missing:
            if name not in kept:
                del self.versions[name]

    def _create_error(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path}: cannot be written: {error.strerror}; choose another --journal"
        )


class FolderWatcher:
    """Finds new images in a folder and its subfolders; skips hidden files."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self.journal = journal
        self._pending: dict[str, PendingFile] = {}

    def poll(self) -> list[PendingFile]:
        """Return the images that are completely written and have no result, by name."""
        now = time.monotonic()
        pending: dict[str, PendingFile] = {}
        ready = []
        present = set()
        for path in find_images(self._folder):
            try:
                status = path.stat()
            except OSError:  # removed after the folder was listed
                continue
            name = str(path)
            present.add(name)
            version = (status.st_size, status.st_mtime_ns)
            if self.journal.versions.get(name) == version:
                continue
            file = self._pending.get(name)
            if file is None or file.version != version:
                pending[name] = PendingFile(path, version, now)
                continue
            pending[name] = file
            file.timed_out = now - file.since >= DECODE_TIMEOUT_S
            if not file.decode_failed or file.timed_out:
                ready.append(file)
        self._pending = pending
        self.journal.forget_removed(present)
        return ready


def classify_new_images(
    classifier: Classifier, watcher: FolderWatcher, writer: ResultWriter
) -> NoReturn:
    """Classify new images until an interrupt.

    Raises:
        OutputError: If the journal cannot be written.
    """
    while True:
        files = watcher.poll()
        outcomes = classifier.predict_many(file.path for file in files)
        for file, outcome in zip(files, outcomes, strict=True):
            file.decode_failed = isinstance(outcome, Failure)
            if file.decode_failed and not file.timed_out:
                continue  # possibly still being written
            with watcher.journal.record(str(file.path), file.version):
                writer.write(outcome)
        time.sleep(POLL_INTERVAL_S)


def _format_entry(name: str, version: FileVersion) -> bytes:
    return (json.dumps([name, *version]) + "\n").encode()


def _parse_entry(value: Any) -> tuple[str, FileVersion]:
    name, size, modified = value
    return str(name), (int(size), int(modified))
