"""Files that are written completely or not at all.

They are written under a hidden name beside their place and then moved there. The writer holds a
lock on the hidden file, so that the next writer can tell what a killed process left from what
another process is writing, and removes the former.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

from boats_runtime.errors import OutputError

if sys.platform != "win32":
    import fcntl


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield an empty file next to a path, and move it to the path at the end of the block.

    If the block raises an exception or the process is killed, a file at the path stays unchanged.
    What killed processes left next to the path is removed.

    Raises:
        OutputError: If the file cannot be written, or an `OSError` ends the block.
    """
    scratch = path.with_name(f".{path.name}-{os.getpid()}.partial")
    _remove_leftovers(path)
    try:
        with _create_locked(scratch, scratch.touch):
            try:
                yield scratch
                with scratch.open("r+b") as stream:
                    os.fsync(stream.fileno())
                scratch.replace(path)
            except BaseException:
                scratch.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that an interruption leaves the old file or the new one.

    Raises:
        OutputError: If the file cannot be written, for example because the disk is full.
    """
    with atomic_path(path) as scratch:
        scratch.write_bytes(content)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder next to a path for temporary files; it is removed at the end.

    What killed processes left next to the path is removed.
    """
    _remove_leftovers(path)
    folder = path.with_name(f".{path.name}-{os.getpid()}-files.partial")
    with _create_locked(folder, partial(folder.mkdir, exist_ok=True)):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def lock_folder(folder: Path) -> AbstractContextManager[None]:
    """Create a folder and hold a lock on it during the block, where the disk has locks.

    Raises:
        BlockingIOError: If another process holds the lock.
        OSError: If the folder cannot be created or opened.
    """
    create = partial(folder.mkdir, parents=True, exist_ok=True)
    return _create_locked(folder, create, wait=False)


def remove_unlocked(leftover: Path) -> None:
    """Remove a file or folder unless a process holds a lock on it, or the system has no locks.

    Raises:
        OSError: If it is locked, missing or cannot be removed.
    """
    descriptor = _lock(leftover, wait=False)
    if descriptor is None:
        return
    try:
        if _is_at(descriptor, leftover):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    finally:
        os.close(descriptor)


@contextmanager
def _create_locked(path: Path, create: Callable[[], None], *, wait: bool = True) -> Iterator[None]:
    """Create a file or folder and hold a lock on it during the block."""
    while True:
        create()
        with suppress(FileNotFoundError):  # another process removed it before the lock
            descriptor = _lock(path, wait=wait)
            if descriptor is None or _is_at(descriptor, path):
                break
            os.close(descriptor)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Remove the scratch files and folders of a path that no running process has locked."""
    pattern = re.compile(rf"\.{re.escape(path.name)}-\d+(-files)?\.partial")
    with suppress(OSError):  # the folder is missing or cannot be listed
        for leftover in [entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name)]:
            with suppress(OSError):  # in use, or of another user
                remove_unlocked(leftover)


def _lock(path: Path, *, wait: bool) -> int | None:
    """Return a descriptor with an exclusive lock; None if the system or its disk has no locks.

    Raises:
        BlockingIOError: Without waiting, if another process has the lock.
        OSError: If it cannot be opened.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file or folder is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
