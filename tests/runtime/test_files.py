from pathlib import Path

import pytest

from boats_runtime.errors import OutputError
from boats_runtime.files import write_atomic


@pytest.mark.parametrize("older", [True, False])
def test_write_atomic__new_content_and_nothing_else(tmp_path: Path, older: bool) -> None:
    path = tmp_path / "file.txt"
    if older:
        path.write_text("older and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic__disk_is_full(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX's limits")
    path = tmp_path / "file.txt"
    path.write_text("older")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"file\.txt: cannot be written: File too large"):
            write_atomic(path, bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic__no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_atomic(tmp_path / "gone" / "file.txt", b"new")
