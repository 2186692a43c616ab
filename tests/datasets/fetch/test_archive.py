import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_data.fetch import archive as archive_module
from boats_data.fetch.archive import unpack_files
from boats_runtime.errors import DataError
from support.archives import FILES, HOSTILE, INTACT, make_special, make_tar, make_zip


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[[bytes], dict[str, bytes]]:
    """Unpacks an archive and returns the files that are then in the folder."""

    def unpack(content: bytes) -> dict[str, bytes]:
        (tmp_path / "archive").write_bytes(content)
        (tmp_path / "images").mkdir()
        root = unpack_files(tmp_path / "archive", FILES, tmp_path / "images")[0]
        paths = (path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}

    return unpack


Unpack = Callable[[bytes], dict[str, bytes]]


@pytest.mark.parametrize("kind", INTACT)
def test_unpack_files__intact_archive(unpack: Unpack, kind: str) -> None:
    assert unpack(INTACT[kind]) == FILES


@pytest.mark.parametrize("kind", HOSTILE)
def test_unpack_files__hostile_archive_writes_nothing(
    unpack: Unpack, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(DataError, match=r"refused: the archive has a (path out of|link|device)"):
        unpack(HOSTILE[kind])
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "archive", tmp_path / "images"]
    assert not Path("/evil").exists()


@pytest.mark.parametrize("pack", [make_zip, make_tar])
def test_unpack_files__bomb(
    unpack: Unpack, monkeypatch: pytest.MonkeyPatch, pack: Callable[..., bytes]
) -> None:
    monkeypatch.setattr(archive_module, "MAX_UNPACKED_BYTES", 1_000_000)
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        unpack(pack(FILES | {"zeros": b"\0" * 3_000_000}))


@pytest.mark.parametrize("limit", [17, 18])
@pytest.mark.parametrize("pack", [make_zip, make_tar])
def test_unpack_files__member_limit(
    unpack: Unpack, monkeypatch: pytest.MonkeyPatch, pack: Callable[..., bytes], limit: int
) -> None:
    monkeypatch.setattr(archive_module, "MAX_MEMBERS", limit)
    if limit == 18:
        assert unpack(pack(FILES)) == FILES
    else:
        with pytest.raises(DataError, match="more than 17 members"):
            unpack(pack(FILES))


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        (tarfile.REGTYPE, 2**42, "unpacks to more than 4,294,967,296 bytes"),
        (tarfile.XHDTYPE, 2**25, "oversized headers"),
    ],
    ids=["file", "header"],
)
def test_unpack_files__tar_header_with_a_huge_size(
    unpack: Unpack, kind: bytes, size: int, message: str
) -> None:
    header = make_special("train/Gondola/0.jpg", kind)
    header.size = size
    with pytest.raises(DataError, match=message):
        unpack(gzip.compress(header.tobuf() + b"\0" * min(size, 2**25)))


@pytest.mark.parametrize("kind", INTACT)
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_unpack_files__truncated_archive_is_incomplete(
    unpack: Unpack, kind: str, fraction: float
) -> None:
    content = INTACT[kind][: int(len(INTACT[kind]) * fraction)]
    try:
        files = unpack(content)
    except DataError:
        return
    assert files.keys() < FILES.keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (make_zip({"cats/1.jpg": b"cat"}), "contains none of the 18 files"),
        (b"\n<!doctype html><html>Sign in</html>", "not a zip, tar or tar.gz archive, but a web"),
        (b"text", "not a zip, tar or tar.gz archive$"),
    ],
    ids=["other files", "web page", "text"],
)
def test_unpack_files__not_the_dataset(unpack: Unpack, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        unpack(content)
