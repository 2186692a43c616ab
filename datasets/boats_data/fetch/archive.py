"""Unpack a dataset from an untrusted zip, tar or tar.gz.

An archive with a member that does not belong into a dataset (a link, a device, a path outside of
its folder) is refused completely. Only the files of the dataset are written.
"""

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, NamedTuple

from boats_runtime.errors import DataError

MAX_MEMBERS = 100_000
MAX_UNPACKED_BYTES = 4 * 2**30

_MAX_READ = 16 * 2**20
_HEADER_BYTES = 4096  # generous size of the headers of one member
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    RuntimeError,  # encrypted member, or a compression method that zipfile lacks
)


class _Member(NamedTuple):
    name: str
    kind: str  # "file", "folder" or "link or device"
    size: int  # in bytes, after extraction
    extract: Callable[[Path], object]


def unpack_files(archive: Path, names: Collection[str], folder: Path) -> tuple[Path, int]:
    """Unpack files from a zip, tar or tar.gz.

    Args:
        archive: Archive file.
        names: Names `split/class/file`; in the archive, all of them may be in a deeper folder.
        folder: Empty folder.

    Returns:
        The folder that contains the files, and the number of files in the archive that were not
        unpacked.

    Raises:
        DataError: If the file is not an archive, is damaged, contains none of the files, exceeds
            the limits or has a forbidden member.
        OSError: If the files cannot be written.
    """
    try:
        with archive.open("rb") as file:
            start = file.read(512)
            file.seek(0)
            if start.startswith(b"PK"):
                with zipfile.ZipFile(file) as opened:
                    return _unpack(_list_zip(opened), names, folder)
            is_gzip = start.startswith(b"\x1f\x8b")
            if is_gzip or start[257:262] == b"ustar":
                with (
                    gzip.open(file) if is_gzip else file as stream,
                    tarfile.open(fileobj=_BoundedReader(stream), mode="r:") as opened,
                ):
                    return _unpack(_list_tar(opened), names, folder)
    except _DAMAGE as error:
        raise DataError(f"the archive is damaged: {error}") from error
    page = ", but a web page" if start.lstrip().startswith(b"<") else ""
    raise DataError(f"not a zip, tar or tar.gz archive{page}")


def _unpack(members: Iterable[_Member], names: Collection[str], folder: Path) -> tuple[Path, int]:
    files: dict[str, _Member] = {}
    size = 0
    for number, member in enumerate(members, 1):
        size += member.size
        if number > MAX_MEMBERS:
            raise DataError(f"refused: the archive has more than {MAX_MEMBERS:,} members")
        if size > MAX_UNPACKED_BYTES:
            raise DataError(
                f"refused: the archive unpacks to more than {MAX_UNPACKED_BYTES:,} bytes"
            )
        if member.kind not in ("file", "folder"):
            raise DataError(f"refused: the archive has a {member.kind}, {member.name!r}")
        path = PureWindowsPath(member.name)  # also splits POSIX paths
        if path.drive or path.root or ".." in path.parts:
            raise DataError(f"refused: the archive has a path out of its folder, {member.name!r}")
        if member.kind == "file":
            files[PurePosixPath(member.name).as_posix()] = member
    prefix = _find_prefix(files, names)
    wanted = files.keys() & {prefix + name for name in names}
    for name, member in files.items():  # in the order of the archive, which is fastest for tar.gz
        if name in wanted:
            member.extract(folder)
    return folder / prefix, len(files) - len(wanted)


def _find_prefix(files: Iterable[str], names: Collection[str]) -> str:
    """Return the path in front of most of the names."""
    tails = ((file, "/".join(file.split("/")[-3:])) for file in files)
    known = frozenset(names)
    prefixes = Counter(file.removesuffix(tail) for file, tail in tails if tail in known)
    if not prefixes:
        raise DataError(f"the archive contains none of the {len(known):,} files")
    return prefixes.most_common(1)[0][0]


def _list_zip(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        is_file = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
        kind = "folder" if info.is_dir() else "file" if is_file else "link or device"
        yield _Member(info.filename, kind, info.file_size, partial(archive.extract, info))


def _list_tar(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        kind = "file" if info.isreg() else "folder" if info.isdir() else "link or device"
        yield _Member(info.name, kind, info.size, partial(archive.extract, info, filter="data"))


class _BoundedReader(io.BufferedIOBase):
    """Limits the headers of an untrusted tar: tarfile loads headers of any size into memory."""

    def __init__(self, file: BinaryIO | gzip.GzipFile) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        too_long = self.tell() > MAX_UNPACKED_BYTES + MAX_MEMBERS * _HEADER_BYTES
        if too_long or size is None or not 0 <= size <= _MAX_READ:
            raise DataError("refused: the archive has oversized headers")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
