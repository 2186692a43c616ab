import io
import os
import sys
from pathlib import Path

import pytest

from boats_runtime.cli import inputs as inputs_module
from boats_runtime.cli.inputs import find_images, find_inputs
from boats_runtime.errors import UsageError
from boats_runtime.prediction import Failure, ImageInput

FILES = (
    "b.jpg", "a.JPG", "c/d.png", "c/e/f.webp", "c/notes.txt", ".hidden.jpg", ".git/g.jpg",
    "[x].jpg", "z/h.tiff",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with images at several depths and other files."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find_names(*arguments: str) -> list[str]:
    """Return the names of the inputs, all of which must be images."""
    inputs = list(find_inputs(arguments))
    assert all(isinstance(item, ImageInput) for item in inputs)
    return [item.name for item in inputs]


def find_failure(argument: str) -> tuple[str, str]:
    """Return name and reason of the only input, which must be a failure."""
    (failure,) = find_inputs([argument])
    assert isinstance(failure, Failure)
    return failure.name, str(failure)


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        (".", ["[x].jpg", "a.JPG", "b.jpg", "c/d.png", "c/e/f.webp", "z/h.tiff"]),
        ("c", ["c/d.png", "c/e/f.webp"]),
        ("*.jpg", ["[x].jpg", "b.jpg"]),
        ("c/*", ["c/d.png", "c/notes.txt"]),
        ("**/*.webp", ["c/e/f.webp"]),
        ("?.JPG", ["a.JPG"]),
        ("[x].jpg", ["[x].jpg"]),
    ],
)
def test_find_inputs__folder_or_pattern(argument: str, names: list[str]) -> None:
    assert find_names(argument) == names


def test_find_inputs__files_in_the_given_order() -> None:
    arguments = ("z/h.tiff", "missing.jpg", "c/notes.txt", "z/h.tiff")
    assert list(find_inputs(arguments)) == [ImageInput(name, Path(name)) for name in arguments]


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("empty", "no images in this folder"),
        ("*.gif", "no file matches this pattern"),
        ("", "empty name"),
    ],
)
def test_find_inputs__no_image(argument: str, reason: str) -> None:
    Path("empty").mkdir()
    assert find_failure(argument) == (argument, reason)


def test_find_inputs__unreadable_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "c":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(inputs_module.os, "scandir", refuse)  # root can read every folder
    *_, failure, last = find_inputs([str(folder)])
    assert isinstance(failure, Failure)
    assert failure.name == str(folder / "c")
    assert str(failure) == "cannot be read: Permission denied"
    assert last.name == str(folder / "z" / "h.tiff")
    names = [path.name for path in find_images(folder)]
    assert names == ["[x].jpg", "a.JPG", "b.jpg", "h.tiff"]


def test_find_inputs__links(folder: Path) -> None:
    (folder / "c" / "e" / "up").symlink_to(folder / "c")
    (folder / "z" / "other").symlink_to(folder / "c" / "e")
    assert find_names("c") == ["c/d.png", "c/e/f.webp"]
    assert find_names("z") == ["z/h.tiff", "z/other/f.webp", "z/other/up/d.png"]


@pytest.mark.parametrize("content", [b"b.jpg\nc\n\n", b"b.jpg\r\nc", b"b.jpg\0c\0", b"b.jpg\0c"])
def test_find_inputs__list(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list.txt").write_bytes(content)
    expected = ["b.jpg", "c/d.png", "c/e/f.webp", "a.JPG"]
    assert find_names("@list.txt", "a.JPG") == expected
    set_stdin(monkeypatch, content)
    assert find_names("@-", "a.JPG") == expected


def test_find_inputs__names_with_line_breaks() -> None:
    Path("list.txt").write_bytes(b"two\nlines.jpg\0caf\xe9.jpg\0")
    assert find_names("@list.txt") == ["two\nlines.jpg", os.fsdecode(b"caf\xe9.jpg")]


@pytest.mark.parametrize("name", ["missing.txt", "c"])
def test_find_inputs__unreadable_list(name: str) -> None:
    with pytest.raises(UsageError, match=f"@{name}: cannot be read: "):
        find_names(f"@{name}")


def test_find_inputs__standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "MAX_BYTES", 1 << 20)
    set_stdin(monkeypatch, b"an image")
    assert list(find_inputs(["-"])) == [ImageInput("-", b"an image")]
    set_stdin(monkeypatch, bytes((1 << 20) + 1))
    assert find_failure("-") == ("-", "more than 1 MiB on standard input")
