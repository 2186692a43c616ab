"""What to classify: files, folders, patterns, lists and standard input, one photo after the other.

photo.jpg        a file
photos/          every photo in the folder and in those below it, by name, hidden ones left out
'cam*/*.jpg'     what the pattern matches; ** for any depth
-                one photo on standard input
@list.txt        a file of such names, one a line or NUL-separated; @- for a list on stdin
"""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from boats_runtime.errors import ImageError, UsageError
from boats_runtime.preprocessing import SUFFIXES

MAX_BYTES = 1 << 28
"""Largest photo that is read from standard input."""


@dataclass(frozen=True)
class Source:
    """A photo to classify, or why there is none.

    Attributes:
        name: As it is printed.
        content: Its file, or its bytes; None where there is none.
        error: Why there is none; else empty.
    """

    name: str
    content: Path | bytes | None
    error: str = ""


def find_sources(arguments: Iterable[str]) -> Iterator[Source]:
    """Yields the photos that arguments of the command line name, in their order.

    Nothing is opened, but for lists and standard input, and folders are read as they are reached:
    of the one that is being read, the names are held.

    Raises:
        UsageError: A list can't be read.
    """
    for argument in arguments:
        if argument == "-":
            yield _read_stdin()
        elif argument.startswith("@"):
            for name in read_list(argument[1:]):
                yield from _expand(name)
        else:
            yield from _expand(argument)


def read_source(source: Source) -> Path | bytes:
    """Returns the photo of a source.

    Raises:
        ImageError: There is none.
    """
    if source.content is None:
        raise ImageError(source.error)
    return source.content


def find_images(folder: Path) -> Iterator[Path]:
    """Yields the photos in a folder and in those below it, by name; what can't be read is left."""
    for source in _walk_below(folder, frozenset()):
        if isinstance(source.content, Path):
            yield source.content


def read_list(name: str) -> list[str]:
    """Reads a list of names: one a line, or NUL-separated if there is a NUL in it.

    Raises:
        UsageError: It can't be read.
    """
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"@{name}: can't be read: {error.strerror}") from error
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(name) for name in names if name.strip()]


def _read_stdin() -> Source:
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        return Source("-", None, f"more than {MAX_BYTES >> 20} MiB on standard input")
    return Source("-", content)


def _expand(name: str) -> Iterator[Source]:
    path = Path(name)
    if not name:  # an unset variable, not the folder that one is in
        yield Source(name, None, "an empty name")
    elif path.is_dir():
        yield from _walk(path)
    elif glob.has_magic(name) and not os.path.lexists(path):
        yield from _match(name)
    else:
        yield Source(name, path)


def _match(pattern: str) -> Iterator[Source]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if not matches:
        yield Source(pattern, None, "nothing matches")
    for match in matches:
        # Of `**` both a folder and what is in it: folders are for arguments.
        if not os.path.isdir(match):  # noqa: PTH112
            yield Source(match, Path(match))


def _walk(folder: Path) -> Iterator[Source]:
    """Yields the photos of a folder and of those below it, or that there are none."""
    empty = True
    for source in _walk_below(folder, frozenset()):
        empty = False
        yield source
    if empty:
        yield Source(str(folder), None, "no photos in this folder")


def _walk_below(folder: Path, above: frozenset[str]) -> Iterator[Source]:
    here = os.path.realpath(folder)
    if here in above:  # a link to a folder that it lies in
        return
    names, folders = [], set()
    try:
        # Names alone are kept: of a million entries the rest would be felt.
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
        yield Source(str(folder), None, f"can't be read: {error.strerror}")
        return
    names.sort()
    for name in names:
        path = folder / name
        if name in folders:
            yield from _walk_below(path, above | {here})
        else:
            yield Source(str(path), path)
