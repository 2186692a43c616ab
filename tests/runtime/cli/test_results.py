import csv
import io
import json
import os
from dataclasses import replace

import pytest

from boats_runtime.cli.results import (
    CsvWriter,
    JsonlWriter,
    JsonWriter,
    ResultContext,
    ResultWriter,
    TableWriter,
)
from boats_runtime.prediction import Failure, Outcome, Prediction, Score
from support.hostile_names import unescape

CONTEXT = ResultContext("cpu", "digest", threshold=0.5, top=2)
SCORES = (Score("topa", 0.75), Score("gòndola", 0.125), Score("barca", 0.125))
OUTCOMES = (
    Prediction(SCORES, 1.5, name='a, "b".jpg'),
    Prediction((Score("topa", 0.25), *SCORES[1:]), 2.0, name="unknown.jpg"),
    Failure("cannot be read: Is a directory", "broken"),
)
HEAD = {"schema_version": 1}
TOP = {"label": "gòndola", "score": 0.125}
OBJECTS = [
    *(
        HEAD
        | {"path": path, "status": "ok", "label": "topa", "score": score, "unknown": unknown}
        | {"top": [{"label": "topa", "score": score}, TOP], "latency_ms": latency_ms}
        | {"provider": "cpu", "model": "digest", "threshold": 0.5}
        for path, score, unknown, latency_ms in (
            ('a, "b".jpg', 0.75, False, 1.5),
            ("unknown.jpg", 0.25, True, 2.0),
        )
    ),
    HEAD | {"path": "broken", "status": "error", "error": "cannot be read: Is a directory"},
]


def write(kind: type[ResultWriter], *options: int, outcomes: tuple[Outcome, ...] = OUTCOMES) -> str:
    stream = io.StringIO()
    writer = kind(stream, CONTEXT, *options)
    for outcome in outcomes:
        writer.write(outcome)
    writer.finish()
    return stream.getvalue()


def test_table_writer__aligns_the_names() -> None:
    assert write(TableWriter, 11) == (
        'a, "b".jpg    topa 0.750   gòndola 0.125\n'
        "unknown.jpg   unknown: topa 0.250   gòndola 0.125\n"
        "broken        error: cannot be read: Is a directory\n"
    )
    assert write(TableWriter, 0).splitlines()[2].startswith("broken        error")


def test_jsonl_writer__writes_the_schema_in_order() -> None:
    assert write(JsonlWriter) == "".join(f"{json.dumps(value)}\n" for value in OBJECTS)


@pytest.mark.parametrize("count", [0, 3])
def test_json_writer__writes_one_object(count: int) -> None:
    content = {"schema_version": 1, "predictions": OBJECTS[:count]}
    assert write(JsonWriter, outcomes=OUTCOMES[:count]) == json.dumps(content, indent=2) + "\n"


def test_csv_writer__quotes_names() -> None:
    lines = write(CsvWriter).splitlines()
    assert lines[1].startswith('"a, ""b"".jpg",ok,topa,0.75,False,1.5,cpu,digest,')
    rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == [value["path"] for value in OBJECTS]
    assert rows[2]["error"] == "cannot be read: Is a directory"
    assert write(CsvWriter, outcomes=()) == lines[0] + "\n"


def test_csv_writer__columns_of_further_classes() -> None:
    lines = write(CsvWriter).splitlines()
    columns = "path,status,label,score,unknown,latency_ms,provider,model,error"
    assert lines[0] == f"{columns},label_2,score_2"
    rows = list(csv.DictReader(lines))
    further = [(row["label_2"], row["score_2"]) for row in rows]
    assert further == [("gòndola", "0.125"), ("gòndola", "0.125"), ("", "")]
    stream = io.StringIO()
    CsvWriter(stream, replace(CONTEXT, top=1))
    assert stream.getvalue() == f"{columns}\n"


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_csv_writer__names_with_line_breaks(newline: str) -> None:
    names = [f"a{newline}b.jpg", "a\\x0ab.jpg", "c.jpg"]
    text = write(CsvWriter, outcomes=tuple(Failure("broken", name) for name in names))
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [unescape(row["path"]) for row in rows] == names
    assert [line.endswith(",broken,,") for line in text.splitlines()] == [False, True, True, True]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝", "'"])  # noqa: RUF001
def test_csv_writer__formulas(start: str) -> None:
    names = (f"{start}cmd|' /C calc'!A0.jpg", "a=b.jpg")
    outcomes = [Prediction((Score(f"{start}1", 0.75), *SCORES), 1.5, name=name) for name in names]
    for safe, prefix in ((False, ""), (True, "'")):
        stream = io.StringIO()
        writer = CsvWriter(stream, CONTEXT, spreadsheet_safe=safe)
        for outcome in outcomes:
            writer.write(outcome)
        rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
        assert [row["path"] for row in rows] == [prefix + names[0], names[1]]
        assert [row["label"] for row in rows] == [f"{prefix}{start}1"] * 2
        assert [float(row["score"]) for row in rows] == [0.75, 0.75]


@pytest.mark.parametrize("kind", [CsvWriter, JsonlWriter, TableWriter])
def test_result_writer__names_that_differ_in_one_invalid_byte(kind: type[ResultWriter]) -> None:
    names = [os.fsdecode(b"caf" + byte) for byte in (b"\xe8", b"\xe9")]
    names += [r"caf\xe8", "caf\x85", os.fsdecode(b"caf\x85")]
    options = (0,) if kind is TableWriter else ()
    text = write(kind, *options, outcomes=tuple(Failure("broken", name) for name in names))
    text.encode()
    assert len(set(text.splitlines()[-5:])) == 5
