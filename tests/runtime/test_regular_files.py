from pathlib import Path

import pytest

from boats_runtime.decoding import decode
from boats_runtime.errors import ImageError
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.regular_files import open_regular, read_regular
from support.special_files import KINDS, make_special_file


@pytest.mark.parametrize("kind", KINDS)
def test_read_regular__something_else(tmp_path: Path, kind: str) -> None:
    path = make_special_file(tmp_path / "image.jpg", kind)
    with pytest.raises(OSError, match="not a regular file") as caught:
        read_regular(path)
    assert (caught.value.strerror, caught.value.filename) == ("not a regular file", str(path))


def test_read_regular__file_or_link(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(b"content")
    (tmp_path / "link.jpg").symlink_to(path)
    assert read_regular(path) == read_regular(tmp_path / "link.jpg") == b"content"
    with open_regular(path) as stream:
        assert stream.read() == b"content"


@pytest.mark.parametrize("name", [".", "missing.jpg"])
def test_read_regular__folder_or_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises((IsADirectoryError, FileNotFoundError)):
        read_regular(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
def test_decode__not_a_regular_file(tmp_path: Path, kind: str) -> None:
    path = make_special_file(tmp_path / "image.jpg", kind)
    for read in (decode, Preprocessing(10, 10).read):
        with pytest.raises(ImageError, match=r"^cannot be read: not a regular file$"):
            read(path)
