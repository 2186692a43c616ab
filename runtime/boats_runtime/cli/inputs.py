"""Images named on the command line: files, folders, patterns, lists and standard input."""

import errno
import glob
import os
import re
import select
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path

from boats_runtime.decoding import SUFFIXES
from boats_runtime.errors import UsageError
from boats_runtime.prediction import Failure, ImageInput
from boats_runtime.regular_files import open_nonblocking, read_regular

MAX_BYTES = 1 << 28
"""Maximum size of an image on standard input or in a pipe, in bytes."""

WRITER_TIMEOUT_S = 10.0
"""Longest wait for a process that opens a FIFO to write to it."""

DATA_TIMEOUT_S = 300.0
"""Longest wait for the next data of a pipe."""

PIPE_CHUNK = 1 << 20
"""Largest number of bytes that is read from a pipe at once."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def find_inputs(arguments: Iterable[str]) -> Iterator[ImageInput | Failure]:
    """Yield the images that command-line arguments name, in their order.

    Images are not opened, except for the one on standard input. Folders are listed one at a time,
    when they are reached.

    Args:
        arguments: Files, folders, patterns such as `cam*/*.jpg`, `-` for an image on standard
            input, `@FILE` for a list of these with one name per line or NUL-separated names, `@-`
            for a list on standard input.

    Raises:
        UsageError: If a list cannot be read.
    """
    for argument in arguments:
        if argument == "-":
            yield _read_stdin()
        elif argument.startswith("@"):
            for name in _read_list(argument[1:]):
                yield from _expand(name)
        else:
            yield from _expand(argument)


def names_one_image(argument: str) -> bool:
    """Return whether a command-line argument is one image: no folder, pattern or list."""
    if argument.startswith("@") or os.path.isdir(argument):  # noqa: PTH112
        return False
    return not glob.has_magic(argument) or os.path.lexists(argument)


def find_images(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder and its subfolders by name; skip unreadable folders."""
    return (entry for entry in _walk(folder) if isinstance(entry, Path))


def _read_stdin() -> ImageInput | Failure:
    try:
        content = sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        return Failure(f"cannot be read: {error.strerror}", "-")
    if len(content) > MAX_BYTES:
        return Failure(f"more than {MAX_BYTES >> 20} MiB on standard input", "-")
    return ImageInput("-", content)


def _is_pipe(name: str) -> bool:
    """Return whether a name is a FIFO, or a pipe of the shell: `<(command)`."""
    try:
        return stat.S_ISFIFO(os.stat(name).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return False


def _read_pipe_input(name: str) -> ImageInput | Failure:
    try:
        return ImageInput(name, _read_pipe(name))
    except OSError as error:
        return Failure(f"cannot be read: {error.strerror}", name)


def _read_file(name: str) -> bytes:
    return _read_pipe(name) if _is_pipe(name) else read_regular(Path(name))


def _read_pipe(name: str) -> bytes:
    """Read a pipe to its end.

    Raises:
        OSError: If it cannot be read, no process opens it for writing, its writer is silent for too
            long, or it has too much data.
    """
    with open(name, "rb", 0, opener=open_nonblocking) as pipe:
        first = pipe.read(PIPE_CHUNK)  # None if the writer has written nothing yet
        if first == b"":
            _wait_for_data(pipe, WRITER_TIMEOUT_S, "no process writes to it")
        content = bytearray(first or b"")
        while len(content) <= MAX_BYTES:
            _wait_for_data(pipe, DATA_TIMEOUT_S, f"no data for {DATA_TIMEOUT_S:g} s")
            chunk = pipe.read(PIPE_CHUNK)
            if chunk == b"":
                return bytes(content)
            content += chunk or b""
    raise OSError(errno.EFBIG, f"more than {MAX_BYTES >> 20} MiB in a pipe")


def _wait_for_data(pipe: FileIO, timeout: float, message: str) -> None:
    """Wait for data or the end of a pipe; raise an error with the message after the timeout."""
    if not select.select([pipe], [], [], timeout)[0]:
        raise OSError(errno.ETIMEDOUT, message)


def _read_list(name: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if name == "-" else _read_file(name)
    except OSError as error:
        raise UsageError(f"@{name}: cannot be read: {error.strerror}") from error
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(name) for name in names if name.strip()]


def _expand(name: str) -> Iterator[ImageInput | Failure]:
    path = Path(name)
    if not name:  # an unset variable; Path("") is the current folder
        yield Failure("empty name", name)
    elif _URL.match(name) and not os.path.lexists(name):
        yield Failure(f"URLs are not fetched: curl -L {shlex.quote(name)} | boats-predict -", name)
    elif os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises an error if the name is too long
        yield from _expand_folder(path)
    elif glob.has_magic(name) and not os.path.lexists(path):
        yield from _expand_pattern(name)
    elif _is_pipe(name):
        yield _read_pipe_input(name)
    else:
        yield ImageInput(name, path)


def _expand_folder(folder: Path) -> Iterator[ImageInput | Failure]:
    empty = True
    for entry in _walk(folder):
        empty = False
        yield entry if isinstance(entry, Failure) else ImageInput(str(entry), entry)
    if empty:
        yield Failure("no images in this folder", str(folder))


def _expand_pattern(pattern: str) -> Iterator[ImageInput | Failure]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if not matches:
        yield Failure("no file matches this pattern", pattern)
    for match in matches:
        # `**` matches a folder as well as its files; folders are expanded as arguments only.
        if not os.path.isdir(match):  # noqa: PTH112
            yield ImageInput(match, Path(match))


def _walk(folder: Path, parents: frozenset[str] = frozenset()) -> Iterator[Path | Failure]:
    """Yield the images below a folder; `parents` are the real paths of the folders above it."""
    real_path = os.path.realpath(folder)
    if real_path in parents:  # a link to a folder that contains it
        return
    names, folders = [], set()
    try:
        # Keep names only: the memory of a million directory entries is noticeable.
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.add(entry.name)
                elif os.path.splitext(entry.name)[1].lower() not in SUFFIXES:  # noqa: PTH122
                    continue
                names.append(entry.name)
    except OSError as error:
        yield Failure(f"cannot be read: {error.strerror}", str(folder))
        return
    names.sort()
    for name in names:
        path = folder / name
        if name in folders:
            yield from _walk(path, parents | {real_path})
        else:
            yield path
