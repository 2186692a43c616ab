"""Arguments of `boats-predict` that name no readable file."""

import io
import sys
from pathlib import Path

import pytest

from boats_runtime.cli.inputs import find_inputs, names_one_image
from boats_runtime.prediction import Failure, ImageInput


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "[x].jpg").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class BrokenInput(io.RawIOBase):
    """Standard input on a disk that fails."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: object) -> int:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        *((name, True) for name in ("a.jpg", "missing", "-", "[x].jpg", "")),
        *((name, False) for name in ("images", "@list.txt", "@-", "*.jpg", "[y].jpg", "**/?.png")),
    ],
)
def test_names_one_image__no_pattern_list_or_folder(argument: str, expected: bool) -> None:
    assert names_one_image(argument) is expected


@pytest.mark.parametrize(
    ("url", "quoted"),
    [
        ("https://example.com/a.jpg", "https://example.com/a.jpg"),
        ("HTTP://example.com/a.jpg?w=1&h=2", "'HTTP://example.com/a.jpg?w=1&h=2'"),
        ("s3://bucket/[x].jpg", "'s3://bucket/[x].jpg'"),
    ],
)
def test_find_inputs__urls_are_not_fetched(url: str, quoted: str) -> None:
    Path("list.txt").write_text(f"{url}\n")
    for argument in (url, "@list.txt"):
        (failure,) = find_inputs([argument])
        assert isinstance(failure, Failure)
        assert failure.name == url
        assert str(failure) == f"URLs are not fetched: curl -L {quoted} | boats-predict -"


def test_find_inputs__name_that_is_too_long() -> None:
    name = "a" * 300 + ".jpg"
    assert list(find_inputs([name])) == [ImageInput(name, Path(name))]


def test_find_inputs__broken_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BufferedReader(BrokenInput()))
    monkeypatch.setattr(sys, "stdin", stream)
    (failure,) = find_inputs(["-"])
    assert (failure.name, str(failure)) == ("-", "cannot be read: Input/output error")
