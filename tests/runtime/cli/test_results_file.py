import json
from pathlib import Path
from typing import Any

import pytest

from boats_runtime.cli.results import ResultContext
from boats_runtime.cli.results_file import ResultsFile
from boats_runtime.errors import OutputError, UsageError
from boats_runtime.prediction import Failure, ImageInput, Prediction, Score

CONTEXT = ResultContext("cpu", "digest", threshold=0.5, top=1)


def predict(name: str, score: float = 0.75) -> Prediction:
    return Prediction((Score("topa", score),), 1.5, name=name)


def make_line(outcome: Prediction | Failure, context: ResultContext = CONTEXT) -> bytes:
    return json.dumps(context.to_json(outcome)).encode() + b"\n"


INCOMPLETE_LINES = [b"", b"{", b'{"path": "c.jpg", "la', make_line(predict("c.jpg"))[:-1]]
LINES = make_line(predict("a.jpg")) + make_line(Failure("is broken", "b\n.jpg"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def run(path: Path, *names: str, resume: bool = True, broken: tuple[str, ...] = ()) -> ResultsFile:
    """Add a result for each name that has none; the broken ones fail."""
    with ResultsFile(path, CONTEXT, resume=resume) as results:
        inputs = [ImageInput(name, b"") for name in names]
        for item in results.select_remaining(inputs):
            failed = item.name in broken
            results.write(Failure("is broken", item.name) if failed else predict(item.name))
        results.finish(names)
    return results


def read_lines(path: Path) -> list[tuple[str, str]]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["path"], row["status"]) for row in rows]


@pytest.mark.parametrize("resume", [True, False])
def test_results_file__new_file(path: Path, resume: bool) -> None:
    results = run(path, "c.jpg", resume=resume)
    assert (results.total, results.failed, results.skipped) == (1, 0, 0)
    assert path.read_bytes() == make_line(predict("c.jpg"))


def test_results_file__repeated_name_is_classified_once(path: Path) -> None:
    assert run(path, "a.jpg", "b.jpg", "a.jpg").skipped == 1
    assert read_lines(path) == [("a.jpg", "ok"), ("b.jpg", "ok")]


@pytest.mark.parametrize("incomplete", INCOMPLETE_LINES)
def test_results_file__removes_an_incomplete_line(path: Path, incomplete: bytes) -> None:
    path.write_bytes(LINES + incomplete)
    run(path, "a.jpg", "c.jpg")
    assert path.read_bytes() == LINES + make_line(predict("c.jpg"))


# --- errors are retried


def test_results_file__resume_classifies_errors_again(path: Path) -> None:
    run(path, "a.jpg", "b.jpg", "c.jpg", broken=("a.jpg", "b.jpg"))
    results = run(path, "a.jpg", "b.jpg", "c.jpg", broken=("b.jpg",))
    assert (results.total, results.failed, results.skipped) == (3, 1, 1)
    assert read_lines(path) == [("a.jpg", "ok"), ("b.jpg", "error"), ("c.jpg", "ok")]
    assert list(path.parent.iterdir()) == [path]


def test_results_file__errors_of_other_calls_count(path: Path) -> None:
    run(path, "a.jpg", broken=("a.jpg",))
    results = run(path, "b.jpg")
    assert (results.total, results.failed) == (2, 1)
    assert read_lines(path) == [("a.jpg", "error"), ("b.jpg", "ok")]


def test_results_file__folder_that_was_empty(path: Path) -> None:
    path.write_bytes(make_line(Failure("no images in this folder", "cam")))
    with ResultsFile(path, CONTEXT, resume=True) as results:
        for item in results.select_remaining([ImageInput("cam/a.jpg", b"")]):
            results.write(predict(item.name))
        results.finish(["cam"])
    assert results.failed == 0
    assert read_lines(path) == [("cam/a.jpg", "ok")]


def test_results_file__kill_after_an_error_was_retried(path: Path) -> None:
    path.write_bytes(LINES + make_line(predict("b\n.jpg")) + b'{"path": "c')
    assert run(path, "a.jpg", "b\n.jpg").failed == 0
    assert read_lines(path) == [("a.jpg", "ok"), ("b\n.jpg", "ok")]


# --- refused files


def test_results_file__existing_file(path: Path) -> None:
    path.write_bytes(LINES)
    with pytest.raises(UsageError, match=r"results\.jsonl: file exists; add --resume"):
        run(path, "a.jpg", resume=False)
    assert path.read_bytes() == LINES


@pytest.mark.parametrize("incomplete", INCOMPLETE_LINES)
def test_results_file__other_model(path: Path, incomplete: bytes) -> None:
    content = make_line(predict("a.jpg"), ResultContext("cpu", "another", 0.5, 1)) + incomplete
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"line 1 is of another model \(another\); choose another"):
        run(path, "b.jpg")
    assert path.read_bytes() == content


def test_results_file__other_threshold(path: Path) -> None:
    content = make_line(predict("a.jpg"), ResultContext("cpu", "digest", 0.25, 1))
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"line 1 has the threshold 0\.25, this call 0\.5"):
        run(path, "b.jpg")
    assert path.read_bytes() == content


@pytest.mark.parametrize(("score", "unknown"), [(0.4, False), (0.6, True)])
def test_results_file__line_without_threshold(path: Path, score: float, unknown: bool) -> None:
    result = CONTEXT.to_json(predict("a.jpg", score))
    del result["threshold"]
    path.write_text(json.dumps(result) + "\n")
    run(path, "b.jpg")
    path.write_text(json.dumps(result | {"unknown": unknown}) + "\n")
    with pytest.raises(UsageError, match="line 1 has another threshold"):
        run(path, "b.jpg")


@pytest.mark.parametrize(
    ("content", "number"),
    [
        *((LINES + line + LINES, 3) for line in (b"notes\n", b"[1]\n", b"{}\n", b"null\n")),
        *((LINES + line + LINES, 3) for line in (b"\xff\n", b"\n", b'{"path": "a"}\n')),
        *((content, 1) for content in (b"notes", b'{"setting": 1}', b"[1]", b"\xff\xd8")),
    ],
)
def test_results_file__other_content(path: Path, content: bytes, number: int) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"line {number} is not a result of boats-predict"):
        run(path, "a.jpg")
    assert path.read_bytes() == content


# --- errors of the system


def test_results_file__cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: Is a directory"):
        run(tmp_path, "a.jpg")
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        run(tmp_path / "missing" / "x", "a.jpg", resume=False)


def test_results_file__error_of_an_image_is_not_one_of_the_file(path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):  # noqa: SIM117
        with ResultsFile(path, CONTEXT, resume=False):
            raise OSError(5, "Input/output error", "a.jpg")
