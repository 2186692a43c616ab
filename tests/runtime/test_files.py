from pathlib import Path

import pytest

from boats_runtime.errors import OutputError
from boats_runtime.files import atomic_path, write_atomic
from support.limits import limit_file_size


@pytest.mark.parametrize("exists", [True, False])
def test_write_atomic__leaves_only_the_new_file(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "file.txt"
    if exists:
        path.write_text("older and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic__full_disk(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("older")
    with (
        limit_file_size(1000),
        pytest.raises(OutputError, match=r"file\.txt: cannot be written: File too large"),
    ):
        write_atomic(path, bytes(2000))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic__missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_atomic(tmp_path / "missing" / "file.txt", b"new")


def test_atomic_path__exception_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("older")

    def fail() -> None:
        with atomic_path(path) as scratch:
            scratch.write_text("new")
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
