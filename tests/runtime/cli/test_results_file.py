from pathlib import Path

import pytest

from boats_runtime.cli.results_file import open_results
from boats_runtime.errors import OutputError, UsageError

LINES = b'{"path": "a.jpg"}\n{"path": "b\\n.jpg", "status": "error"}\n'
ADDED_LINE = '{"path": "c.jpg"}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def append_line(path: Path, *, resume: bool) -> frozenset[str]:
    """Append `ADDED_LINE` and return the names in the file before."""
    with open_results(path, resume=resume) as (stream, names):
        stream.write(ADDED_LINE)
    return names


@pytest.mark.parametrize("resume", [True, False])
def test_open_results__new_file(path: Path, resume: bool) -> None:
    assert append_line(path, resume=resume) == frozenset()
    assert path.read_text() == ADDED_LINE


@pytest.mark.parametrize("incomplete", [b"", b"{", b'{"path": "c.jpg"}', b'{"path": "c.jpg", "la'])
def test_open_results__removes_an_incomplete_line(path: Path, incomplete: bytes) -> None:
    path.write_bytes(LINES + incomplete)
    assert append_line(path, resume=True) == {"a.jpg", "b\n.jpg"}
    assert path.read_bytes() == LINES + ADDED_LINE.encode()


def test_open_results__existing_file(path: Path) -> None:
    path.write_bytes(LINES)
    with pytest.raises(UsageError, match=r"results\.jsonl: file exists; add --resume"):
        append_line(path, resume=False)
    assert path.read_bytes() == LINES


@pytest.mark.parametrize(
    ("content", "number"),
    [
        *((LINES + line + LINES, 3) for line in (b"notes\n", b"[1]\n", b"{}\n", b"null\n")),
        *((LINES + line + LINES, 3) for line in (b"\xff\n", b"\n")),
        *((content, 1) for content in (b"notes", b'{"setting": 1}', b"[1]", b"\xff\xd8")),
    ],
)
def test_open_results__other_content(path: Path, content: bytes, number: int) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"line {number} is not a result of boats-predict"):
        append_line(path, resume=True)
    assert path.read_bytes() == content


def test_open_results__cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: Is a directory"):
        append_line(tmp_path, resume=True)
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        append_line(tmp_path / "missing" / "x", resume=False)
