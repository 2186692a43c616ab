from pathlib import Path

import pytest

from boats_runtime.errors import OutputError
from boats_runtime.files import atomic_path, write_atomic
from support.limits import limit_file_size


@pytest.mark.parametrize("older", [True, False])
def test_write_atomic__replaces_an_older_file(tmp_path: Path, older: bool) -> None:
    path = tmp_path / "file.txt"
    if older:
        path.write_text("older and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic__disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("older")
    with (
        limit_file_size(1000),
        pytest.raises(OutputError, match=r"file\.txt: cannot be written: File too large"),
    ):
        write_atomic(path, bytes(2000))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic__no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_atomic(tmp_path / "gone" / "file.txt", b"new")


def test_atomic_path__exception_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("older")
    with pytest.raises(ValueError, match="stop"), atomic_path(path) as scratch:
        scratch.write_text("new")
        raise ValueError("stop")
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
