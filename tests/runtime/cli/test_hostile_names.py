"""500 names and labels with control characters in every output of `boats-predict`."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_runtime.cli.results import (
    CsvWriter,
    JsonlWriter,
    JsonWriter,
    ResultContext,
    ResultWriter,
    TableWriter,
)
from boats_runtime.errors import ModelError
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.prediction import Failure, Prediction, Score
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.text import escape_text, is_printable
from support.hostile_names import find_control, make_names, unescape
from support.process import CommandResult
from support.toy_model import ToyModel

Predict = Callable[..., CommandResult]

NAMES = make_names(500)
CONTEXT = ResultContext("cpu", "digest", threshold=0.5, top=2)
OUTCOMES = [
    Failure(f"cannot be read: {name}", name)
    if number % 5 == 0
    else Prediction((Score(name, 0.75), Score(name[::-1], 0.25)), 1.5, name=name)
    for number, name in enumerate(NAMES)
]


def write(kind: type[ResultWriter], *options: int) -> str:
    stream = io.StringIO(newline="")
    writer = kind(stream, CONTEXT, *options)
    for outcome in OUTCOMES:
        writer.write(outcome)
    writer.finish()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "options", "lines"),
    [(TableWriter, (1,), 500), (CsvWriter, (), 501), (JsonlWriter, (), 500), (JsonWriter, (), 0)],
)
def test_result_writer__no_control_character(
    kind: type[ResultWriter], options: tuple[int, ...], lines: int
) -> None:
    text = write(kind, *options)
    assert find_control(text) == ""
    assert text.count("\n") == lines or not lines
    text.encode()


def test_csv_writer__names_survive_a_round_trip() -> None:
    rows = list(csv.DictReader(io.StringIO(write(CsvWriter), newline=""), strict=True))
    assert [unescape(row["path"]) for row in rows] == NAMES
    assert [unescape(row["label"]) for row in rows[1:5]] == NAMES[1:5]
    assert unescape(rows[0]["error"]) == f"cannot be read: {NAMES[0]}"


def test_json_writers__names_survive_a_round_trip() -> None:
    rows = [json.loads(line) for line in write(JsonlWriter).splitlines()]
    assert [row["path"] for row in rows] == NAMES
    assert json.loads(write(JsonWriter))["predictions"] == rows


def test_table_writer__aligns_escaped_names() -> None:
    lines = write(TableWriter, max(len(escape_text(name)) for name in NAMES)).splitlines()
    assert {line.index("   error: cannot be read: ") for line in lines[::5]} == {
        lines[0].index("   error: cannot be read: ")
    }


def test_model_metadata__refuses_hostile_labels() -> None:
    preprocessing = Preprocessing(10, 10)
    refused = 0
    for name in NAMES:
        if not is_printable(name):
            with pytest.raises(ModelError, match="control character"):
                ModelMetadata(("topa", name), preprocessing)
            refused += 1
        else:
            ModelMetadata(("label", name), preprocessing)
    assert refused > 250


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("option", [None, "--csv", "--jsonl", "--json"])
def test_predict__hostile_file_names(
    predict: Predict, tmp_path: Path, image_path: Path, option: str | None
) -> None:
    model = ToyModel().save(tmp_path / "toy.onnx")
    folder = tmp_path / "images"
    folder.mkdir()
    names = [f"{name}.jpg" for name in make_names(60, in_file_names=True)]
    for name in names:
        (folder / name).write_bytes(image_path.read_bytes() if len(name) % 2 else b"broken")
    listed = b"\0".join(os.fsencode(f"images/{name}") for name in names)
    (tmp_path / "list").write_bytes(listed + b"\0missing\x1b[2J\xff.jpg\0")
    result = predict(*filter(None, [option]), "@list", model=model)
    assert result.returncode == 1
    assert find_control(result.stdout + result.stderr) == ""
    if option in (None, "--jsonl"):
        assert len(result.stdout.splitlines()) == len(names) + 1
    if option == "--csv":
        rows = csv.DictReader(io.StringIO(result.stdout))
        paths = [unescape(row["path"]) for row in rows]
        assert [os.fsencode(path) for path in paths[:-1]] == listed.split(b"\0")
