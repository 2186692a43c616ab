import io
import os
import sys
from pathlib import Path

import pytest

from boats_runtime.cli import inputs as sources
from boats_runtime.cli.inputs import Source, find_sources
from boats_runtime.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos at several depths, and with what is none; it is the current one."""
    for name in (
        "b.jpg", "a.JPG", "c/d.png", "c/e/f.webp", "c/notes.txt", ".hidden.jpg", ".git/g.jpg",
        "[x].jpg", "z/h.tiff",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*arguments: str) -> list[str]:
    return [source.name for source in find_sources(arguments)]


def give_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.usefixtures("folder")
def test_find_sources__folder() -> None:
    assert found(".") == ["[x].jpg", "a.JPG", "b.jpg", "c/d.png", "c/e/f.webp", "z/h.tiff"]
    assert found("c") == ["c/d.png", "c/e/f.webp"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["[x].jpg", "b.jpg"]),
        ("c/*", ["c/d.png", "c/notes.txt"]),
        ("**/*.webp", ["c/e/f.webp"]),
        ("?.JPG", ["a.JPG"]),
        ("[x].jpg", ["[x].jpg"]),
    ],
)
def test_find_sources__pattern(pattern: str, names: list[str]) -> None:
    assert found(pattern) == names


@pytest.mark.usefixtures("folder")
def test_find_sources__files_in_the_order_given() -> None:
    arguments = ("z/h.tiff", "gone.jpg", "c/notes.txt", "z/h.tiff")
    assert found(*arguments) == list(arguments)
    assert all(source.content == Path(source.name) for source in find_sources(arguments))


@pytest.mark.usefixtures("folder")
def test_find_sources__nothing_there() -> None:
    Path("empty").mkdir()
    assert list(find_sources(["empty", "*.gif"])) == [
        Source("empty", None, "no photos in this folder"),
        Source("*.gif", None, "nothing matches"),
    ]


@pytest.mark.usefixtures("folder")
def test_find_sources__empty_name() -> None:
    assert list(find_sources([""])) == [Source("", None, "an empty name")]


def test_find_sources__folder_without_rights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "c":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(sources.os, "scandir", refuse)  # root may read everything
    rows = list(find_sources([str(folder)]))
    assert Source(str(folder / "c"), None, "can't be read: Permission denied") in rows
    assert rows[-1].name == str(folder / "z" / "h.tiff")


def test_find_sources__links(folder: Path) -> None:
    (folder / "c" / "e" / "up").symlink_to(folder / "c")
    (folder / "z" / "other").symlink_to(folder / "c" / "e")
    assert found("c") == ["c/d.png", "c/e/f.webp"]
    assert found("z") == ["z/h.tiff", "z/other/f.webp", "z/other/up/d.png"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "content",
    [b"b.jpg\nc\n\n", b"b.jpg\r\nc", b"b.jpg\0c\0", b"b.jpg\0c"],
)
def test_find_sources__list(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("list.txt").write_bytes(content)
    expected = ["b.jpg", "c/d.png", "c/e/f.webp", "a.JPG"]
    assert found("@list.txt", "a.JPG") == expected
    give_stdin(monkeypatch, content)
    assert found("@-", "a.JPG") == expected


@pytest.mark.usefixtures("folder")
def test_find_sources__list_of_names_with_line_breaks() -> None:
    Path("list.txt").write_bytes(b"one\nname.jpg\0caf\xe9.jpg\0")
    assert found("@list.txt") == ["one\nname.jpg", os.fsdecode(b"caf\xe9.jpg")]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["gone.txt", "c"])
def test_find_sources__list_cant_be_read(name: str) -> None:
    with pytest.raises(UsageError, match=f"@{name}: can't be read: "):
        found(f"@{name}")


def test_find_sources__photo_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    give_stdin(monkeypatch, b"a photo")
    assert list(find_sources(["-"])) == [Source("-", b"a photo")]


def test_find_sources__too_much_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    give_stdin(monkeypatch, bytes((1 << 20) + 1))
    assert list(find_sources(["-"])) == [Source("-", None, "more than 1 MiB on standard input")]
