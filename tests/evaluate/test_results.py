import json
from pathlib import Path

import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.results import read_baseline, to_json
from boats_runtime.errors import DataError


def test_to_json__keys_and_values(evaluation: Evaluation) -> None:
    value = json.loads(json.dumps(to_json(evaluation)))
    assert list(value) == [
        "schema_version", "folder", "labels", "files", "groups", "groups_left_out", "photos",
        "unreadable", "gate",
    ]  # fmt: skip
    assert value["schema_version"] == 1
    first, second = value["files"]
    assert list(first) == [
        "file", "model", "bytes", "precision", "provider", "metrics", "not_claimable",
        "one_group_classes", "training_split", "epoch_chosen_on_these", "calibration", "threshold",
        "coverage", "answered_accuracy", "curve", "confusions", "against_first", "unknown_classes",
    ]  # fmt: skip
    assert first["metrics"]["accuracy"] == 0.85
    assert first["metrics"]["interval_unit"] == "groups"
    assert first["metrics"]["interval_groups"] == second["against_first"]["interval_groups"] == 2
    assert (first["training_split"], first["epoch_chosen_on_these"]) == (None, False)
    assert first["not_claimable"] == ["red"]
    assert first["confusions"] == [
        {"label": "green & co", "predicted": "red", "count": 2, "support": 7},
        {"label": "red", "predicted": "<script>", "count": 1, "support": 4},
    ]
    assert (first["threshold"], second["threshold"]) == (0.5, 0.0)
    assert first["against_first"] is None
    assert list(second["against_first"]) == [
        "lost", "won", "p_two_sided", "p_worse", "accuracy", "accuracy_interval",
        "macro_f1_before", "macro_f1", "macro_f1_interval", "p_macro_f1_worse", "interval_unit",
        "interval_groups",
    ]  # fmt: skip
    assert (second["against_first"]["lost"], second["against_first"]["won"]) == (14, 1)
    assert [group["name"] for group in value["groups"]] == ["20130304", "20130305"]
    image = value["photos"][0]
    assert image["path"] == "<script>/20130304_0.jpg"
    assert len(image["sha256"]) == 64
    assert (image["label"], image["predicted"]) == ("<script>", ["<script>", "red"])
    assert len(image["score"]) == 2


def test_read_baseline__reads_to_json(evaluation: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(to_json(evaluation)))
    baseline = read_baseline(path)
    assert baseline.labels == evaluation.labels
    assert baseline.file == evaluation.main.name
    predicted = [evaluation.labels[index] for index in evaluation.main.predictions.predicted]
    digests = [image.digest for image in evaluation.images]
    assert baseline.predicted == dict(zip(digests, predicted, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "null", "{}", "not JSON", "[" * 100_000, '{"schema_version": 1}', "\udcff",
        '{"schema_version": 1, "labels": [1], "photos": [], "files": [{"file": "a"}]}',
        '{"schema_version": 1, "labels": [], "photos": [{"sha256": "xy"}], "files": []}',
        '{"schema_version": 1, "labels": ["a"], "photos": [], "files": []}',
    ],
)  # fmt: skip
def test_read_baseline__other_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match="is not a result of boats-evaluate; create one with"):
        read_baseline(path)


def test_read_baseline__newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text('{"schema_version": 2}')
    with pytest.raises(DataError, match="has schema 2; this version reads 1"):
        read_baseline(path)


def test_read_baseline__prediction_that_is_not_a_label(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(to_json(evaluation) | {"labels": ["a", "b"]}))
    with pytest.raises(DataError, match="predictions that are not in its labels"):
        read_baseline(path)
