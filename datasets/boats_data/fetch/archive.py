"""Unpacks a picture set from a zip or a tarball that nobody vouches for.

Only files of given names are written, to places made of these names alone. An archive with a member
that has no business in a picture set is refused whole all the same: it is not what it claims to be.
"""

import gzip
import io
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from boats_runtime.errors import DataError

_GZIP = b"\x1f\x8b"
_MAX_READ = 16 * 2**20
_HEADERS = 4096  # bytes a member, generously
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    RuntimeError,  # an encrypted member, or a compression method that zipfile lacks
)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most.

    Attributes:
        members: Files and folders.
        unpacked: Bytes of all its files together.
    """

    members: int = 100_000
    unpacked: int = 4 * 2**30


LIMITS = Limits()
"""Far above what the boats need: 0.2 GB, and some thousand files of a course beside them."""


@dataclass(frozen=True)
class _Member:
    """One member of an archive.

    Attributes:
        name: Its path.
        kind: `file`, `folder`, `link` or `device`.
        size: Bytes when unpacked.
        open: Opens its contents; until the next member is asked for.
    """

    name: str
    kind: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack_files(archive: Path, names: Collection[str], folder: Path, limits: Limits) -> int:
    """Unpacks files from a zip, a tar or a tar.gz, wherever in it they are.

    Args:
        archive: The archive.
        names: Names as `split/class/file`; in the archive they may all lie in one deeper folder.
        folder: An empty folder.
        limits: What the archive may hold.

    Returns:
        How many of its files were left out.

    Raises:
        DataError: It is no such archive, is damaged, holds none of the files, exceeds the limits,
            or has a member that is a link or device or would lie outside its folder.
        OSError: The files can't be written.
    """
    try:
        files = {
            member.name for member in _checked_members(archive, limits) if member.kind == "file"
        }
        prefix = _find_prefix(files, names)
        wanted = {prefix + name: name for name in names if prefix + name in files}
        for member in _checked_members(archive, limits):
            if member.kind == "file" and member.name in wanted:
                target = folder / wanted[member.name]
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file, member.open() as stream:
                    shutil.copyfileobj(stream, file, 2**20)
    except _DAMAGE as error:
        raise DataError(f"the archive is damaged: {error}") from error
    return len(files) - len(wanted)


def _checked_members(archive: Path, limits: Limits) -> Iterator[_Member]:
    """Yields the members, each checked before the next is looked for."""
    total = 0
    for number, member in enumerate(_members(archive, limits), 1):
        total += member.size
        if number > limits.members:
            raise DataError(f"refused: the archive has more than {limits.members:,} members")
        if total > limits.unpacked:
            raise DataError(f"refused: the archive unpacks to more than {limits.unpacked:,} bytes")
        if member.kind not in ("file", "folder"):
            raise DataError(f"refused: the archive has a {member.kind}, {member.name!r}")
        if _escapes(member.name):
            raise DataError(f"refused: the archive has a path out of its folder, {member.name!r}")
        yield replace(member, name=PurePosixPath(member.name).as_posix())


def _escapes(name: str) -> bool:
    """Tells whether a path is absolute or goes up, on POSIX or on Windows."""
    windows = PureWindowsPath(name)
    return bool(windows.drive or windows.root or ".." in windows.parts)


def _find_prefix(files: Collection[str], names: Collection[str]) -> str:
    """Returns the path in the archive that lies before the most of the names."""
    known = frozenset(names)
    prefixes: Counter[str] = Counter()
    for file in files:
        name = "/".join(file.split("/")[-3:])
        if name in known:
            prefixes[file.removesuffix(name)] += 1
    if not prefixes:
        raise DataError(f"the archive holds none of the {len(known):,} files")
    return prefixes.most_common(1)[0][0]


def _members(archive: Path, limits: Limits) -> Iterator[_Member]:
    with archive.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        if start.startswith(b"PK"):
            yield from _zip_members(file)
        elif start.startswith(_GZIP):
            with gzip.open(file) as unzipped:
                yield from _tar_members(unzipped, limits)
        elif start[257:262] == b"ustar":
            yield from _tar_members(file, limits)
        else:
            page = ", but a web page" if start.lstrip()[:1] == b"<" else ""
            raise DataError(f"not a zip, tar or tar.gz archive{page}")


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            form = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or form == stat.S_IFDIR:
                kind = "folder"
            elif form in (0, stat.S_IFREG):
                kind = "file"
            else:
                kind = "link" if form == stat.S_IFLNK else "device"
            yield _Member(info.filename, kind, info.file_size, partial(archive.open, info))


def _tar_members(file: BinaryIO | gzip.GzipFile, limits: Limits) -> Iterator[_Member]:
    stream = _Guarded(file, limits.unpacked + limits.members * _HEADERS)
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for info in archive:
            if info.isdir():
                kind = "folder"
            elif info.isreg():
                kind = "file"
            else:
                kind = "link" if info.issym() or info.islnk() else "device"
            yield _Member(info.name, kind, info.size, partial(_extract, archive, info))


def _extract(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise tarfile.ReadError(f"{info.name!r} has no contents")
    return stream


class _Guarded(io.BufferedIOBase):
    """Reads a tar that may be hostile: `tarfile` takes headers of any size into memory."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, limit: int) -> None:
        self._file = file
        self._limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ:
            raise DataError("refused: the archive has a header of absurd size")
        content = self._file.read(size)
        self._check()
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        position = self._file.seek(offset, whence)
        self._check()
        return position

    def tell(self) -> int:
        return self._file.tell()

    def _check(self) -> None:
        if self._file.tell() > self._limit:
            raise DataError(f"refused: the archive unpacks to more than {self._limit:,} bytes")
