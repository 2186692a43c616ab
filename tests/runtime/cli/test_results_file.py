import json
from pathlib import Path

import pytest

from boats_runtime.cli.results_file import open_output
from boats_runtime.errors import OutputError, UsageError

LINES = b'{"path": "a.jpg"}\n{"path": "b\\n.jpg", "status": "error"}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def write(path: Path, name: str, *, resume: bool) -> frozenset[str]:
    with open_output(path, resume=resume) as (stream, done):
        stream.write(json.dumps({"path": name}).encode() + b"\n")
    return done


@pytest.mark.parametrize("resume", [True, False])
def test_open_output__new_file(path: Path, resume: bool) -> None:
    assert write(path, "a.jpg", resume=resume) == frozenset()
    assert path.read_bytes() == b'{"path": "a.jpg"}\n'


@pytest.mark.parametrize("torn", [b"", b"{", b'{"path": "c.jpg"}', b'{"path": "c.jpg", "la'])
def test_open_output__goes_on_after_the_last_whole_line(path: Path, torn: bytes) -> None:
    path.write_bytes(LINES + torn)
    assert write(path, "c.jpg", resume=True) == {"a.jpg", "b\n.jpg"}
    assert path.read_bytes() == LINES + b'{"path": "c.jpg"}\n'


def test_open_output__is_there_already(path: Path) -> None:
    path.write_bytes(LINES)
    with pytest.raises(UsageError, match=r"results\.jsonl: is there already; --resume"):
        write(path, "c.jpg", resume=False)
    assert path.read_bytes() == LINES


@pytest.mark.parametrize("line", [b"notes\n", b"[1]\n", b"{}\n", b"null\n", b"\xff\n", b"\n"])
def test_open_output__file_of_something_else(path: Path, line: bytes) -> None:
    path.write_bytes(LINES + line + LINES)
    with pytest.raises(UsageError, match=r"line 3 is no result of boats-predict"):
        write(path, "c.jpg", resume=True)
    assert path.read_bytes() == LINES + line + LINES


@pytest.mark.parametrize("content", [b"notes", b'{"setting": 1}', b"[1]", b"\xff\xd8"])
def test_open_output__file_of_something_else_without_a_line_break(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"line 1 is no result of boats-predict"):
        write(path, "c.jpg", resume=True)
    assert path.read_bytes() == content


def test_open_output__cant_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't be written: Is a directory"):
        write(tmp_path, "c.jpg", resume=True)
    with pytest.raises(OutputError, match="can't be written: No such file"):
        write(tmp_path / "gone" / "x", "c.jpg", resume=False)
