import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.labeled_images import Photo
from boats_evaluate.predictions import Answers
from boats_evaluate.results import (
    SCHEMA_VERSION,
    Strangers,
    find_strangers,
    read_baseline,
    to_json,
)
from boats_runtime.errors import DataError


def test_to_json__everything_that_was_measured(evaluated: Evaluation) -> None:
    value = json.loads(json.dumps(to_json(evaluated)))
    assert set(value) == {
        "schema_version", "folder", "labels", "files", "groups", "groups_left_out", "photos",
        "unreadable", "gate",
    }  # fmt: skip
    assert value["schema_version"] == SCHEMA_VERSION == 1
    first, second = value["files"]
    assert set(first) == {
        "file", "model", "bytes", "precision", "provider", "metrics", "not_claimable",
        "calibration", "threshold", "coverage", "answered_accuracy", "curve", "confusions",
        "against_first", "unknown_classes",
    }  # fmt: skip
    assert first["metrics"]["accuracy"] == 0.85
    assert first["not_claimable"] == ["red"]
    assert first["confusions"] == [
        {"label": "green & co", "predicted": "red", "count": 2, "support": 7},
        {"label": "red", "predicted": "<script>", "count": 1, "support": 4},
    ]
    assert (first["threshold"], second["threshold"]) == (0.5, 0.0)
    assert first["against_first"] is None
    assert (second["against_first"]["lost"], second["against_first"]["won"]) == (14, 1)
    assert [group["name"] for group in value["groups"]] == ["20130304", "20130305"]
    photo = value["photos"][0]
    assert photo["path"] == "<script>/20130304_0.jpg"
    assert len(photo["sha256"]) == 64
    assert (photo["label"], photo["predicted"]) == ("<script>", ["<script>", "red"])
    assert len(photo["score"]) == 2


def test_find_strangers__called_unknown_and_taken_for(evaluated: Evaluation) -> None:
    photos = [Photo(Path(f"{n}.jpg"), label) for n, label in enumerate(["raft", *["canoe"] * 3])]
    answers = Answers(np.array([2, 0, 1, 1]), np.array([0.9, 0.49, 0.5, 0.1]))
    file = replace(evaluated.main, stranger_answers=answers, threshold=0.5)
    evaluation = replace(evaluated, strangers=tuple(photos), files=(file,))
    assert list(find_strangers(evaluation, file)) == [
        Strangers("canoe", 3, 2, "green & co"),
        Strangers("raft", 1, 0, "red"),
    ]


def test_read_baseline__what_was_written(evaluated: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(to_json(evaluated)))
    baseline = read_baseline(path)
    assert baseline.labels == evaluated.labels
    assert baseline.file == evaluated.main.name
    for digest, index in zip(evaluated.digests, evaluated.main.answers.predicted, strict=True):
        assert baseline.predicted[digest] == evaluated.labels[index]


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", "{}", "not JSON", "[" * 100_000, '{"schema_version": 1}', "\udcff",
        '{"schema_version": 1, "labels": [1], "photos": [], "files": [{"file": "a"}]}',
        '{"schema_version": 1, "labels": [], "photos": [{"sha256": "xy"}], "files": []}',
        '{"schema_version": 1, "labels": ["a"], "photos": [], "files": []}',
    ],
)  # fmt: skip
def test_read_baseline__malformed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match="no result of boats-evaluate: make one with"):
        read_baseline(path)


def test_read_baseline__newer_missing_or_at_odds(evaluated: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text('{"schema_version": 2}')
    with pytest.raises(DataError, match="of schema 2, this boats reads 1"):
        read_baseline(path)
    with pytest.raises(DataError, match=r"missing\.json: can't be read: No such file"):
        read_baseline(tmp_path / "missing.json")
    value = to_json(evaluated)
    value["labels"] = ["a", "b"]
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="predictions that are none of its labels"):
        read_baseline(path)
