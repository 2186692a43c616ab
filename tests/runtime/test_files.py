import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_runtime.errors import OutputError
from boats_runtime.files import atomic_path, scratch_folder, write_atomic
from support.limits import limit_file_size

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")


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


def write_killed(path: Path, step: Callable[[Path], object]) -> None:
    """Begin to write a file in a process that is killed after a step."""
    child = os.fork()
    if child == 0:
        with atomic_path(path) as scratch:
            step(scratch)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@needs_fork
@pytest.mark.parametrize("step", [Path.stat, lambda scratch: scratch.write_text("new")])
def test_atomic_path__removes_what_a_killed_process_left(
    tmp_path: Path, step: Callable[[Path], object]
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("older")
    write_killed(path, step)
    assert path.read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 2
    write_atomic(path, b"newer")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"file.txt": "newer"}


@needs_fork
def test_scratch_folder__removed_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"

    def write_files(_: Path) -> None:
        with scratch_folder(path) as folder:
            (folder / "large.bin").write_text("content")
            os.kill(os.getpid(), signal.SIGKILL)

    write_killed(path, write_files)
    assert len(list(tmp_path.iterdir())) == 2
    with scratch_folder(path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@needs_fork
def test_atomic_path__leaves_the_files_of_a_running_process(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with atomic_path(path) as scratch, scratch_folder(path) as folder:
        scratch.write_text("from the parent")
        child = os.fork()
        if child == 0:
            write_atomic(path, b"from the child")
            os._exit(0)
        os.waitpid(child, 0)
        assert path.read_text() == "from the child"
        assert folder.is_dir()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "file.txt": "from the parent"
    }


def test_atomic_path__leaves_files_with_similar_names(tmp_path: Path) -> None:
    names = {".file.txt-2026", ".file.txt-copy.partial", "file.txt-12.partial", ".file-1.partial"}
    for name in names:
        (tmp_path / name).touch()
    write_atomic(tmp_path / "file.txt", b"new")
    assert {file.name for file in tmp_path.iterdir()} == names | {"file.txt"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask for groups")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_write_atomic__follows_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    previous = os.umask(umask)
    try:
        write_atomic(tmp_path / "file.txt", b"new")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == mode
