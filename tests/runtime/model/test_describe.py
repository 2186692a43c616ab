import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import onnx
import pytest

from boats_runtime.errors import ModelError
from boats_runtime.model.describe import (
    base_name,
    create_card,
    describe_model,
    format_proof,
    inspect_file,
    list_proof,
)
from boats_runtime.model.digest import PLACEHOLDER, write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.text import is_printable


@pytest.fixture(scope="module")
def metadata(tiny_model: Path) -> ModelMetadata:
    return inspect_file(tiny_model)


def replace_proof(metadata: ModelMetadata, **changes: object) -> ModelMetadata:
    proof = metadata.provenance["proof"] | changes
    return replace(metadata, provenance={**metadata.provenance, "proof": proof})


def save_metadata(model: Path, metadata: ModelMetadata, path: Path) -> Path:
    """Write a copy of a model with other metadata and return its path."""
    changed = onnx.load(model)
    onnx.helper.set_model_props(changed, metadata.to_properties())
    path.write_bytes(write_digest(changed.SerializeToString()))
    return path


@pytest.mark.parametrize(
    "provenance", [{}, {"proof": None, "config": {}}, {"proof": [], "config": [1]}]
)
def test_inspect_file__valid_digest_but_malformed_provenance(
    metadata: ModelMetadata, tiny_model: Path, tmp_path: Path, provenance: dict[str, object]
) -> None:
    template = replace(metadata, provenance=provenance, digest=PLACEHOLDER)
    path = save_metadata(tiny_model, template, tmp_path / "boats.onnx")
    with pytest.raises(ModelError, match=r"boats\.onnx: its provenance is malformed: export it"):
        inspect_file(path)


def test_format_proof__fp32(metadata: ModelMetadata) -> None:
    lines = format_proof(metadata)
    assert [line.split("  ")[1] for line in lines] == [
        "compared on", "same label", "probabilities within", "accuracy", "macro-F1",
    ]  # fmt: skip


def test_format_proof__int8_lists_the_losses(metadata: ModelMetadata) -> None:
    before = {"accuracy": 0.9, "macro_f1": 0.8, "recall": {"topa": 0.5, "gòndola": 1.0}}
    after = {"accuracy": 0.8, "macro_f1": 0.7, "recall": {"topa": 0.25, "gòndola": 1.0}}
    lines = format_proof(
        replace_proof(
            metadata, precision="int8", undecided=1, same_label_as_float32=9,
            before=before, after=after, without_refit=after | {"accuracy": 0.75},
        )
    )  # fmt: skip
    assert lines[3:] == [
        "  tied votes             1",
        "  same label as float32  9 of 11",
        "  accuracy               0.800, float32 0.900, without refit 0.750",
        "  macro-F1               0.700, float32 0.800, without refit 0.700",
        "  lower recall           topa 0.50 to 0.25",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"fp16_arithmetic": "storage only"}, "storage verified only: .* in float32"),
        (
            {
                "fp16_arithmetic": "cuda",
                "on_cuda": {"accuracy": 0.9, "macro_f1": 0.8, "same_label_as_float32": 10},
            },
            "verified on CUDA: accuracy 0.900, macro-F1 0.800, same label as float32 10 of 11",
        ),
    ],
    ids=["old file", "storage only", "cuda"],
)
def test_list_proof__fp16_arithmetic(
    metadata: ModelMetadata, changes: dict[str, object], expected: str | None
) -> None:
    rows = dict(list_proof(replace_proof(metadata, precision="fp16", **changes)))
    if expected is None:
        assert "float16 arithmetic" not in rows
    else:
        assert re.fullmatch(expected, rows["float16 arithmetic"])


@pytest.mark.parametrize(("changes", "stated"), [({}, False), ({"candidates": 2}, True)])
def test_list_proof__int8_is_chosen_on_the_same_images(
    metadata: ModelMetadata, changes: dict[str, object], stated: bool
) -> None:
    proof = metadata.provenance["proof"]
    int8 = replace_proof(metadata, precision="int8", without_refit=proof["before"], **changes)
    rows = dict(list_proof(int8))
    for name in ("accuracy", "macro-F1"):
        assert rows[name].endswith("; chosen on the same images") == stated


OLD_PATHS = {
    "data": "/home/someone/boats",
    "weights": r"C:\Users\someone\weights.pth",
    "from_run": "/home/someone/runs/first/",
}
"""Paths in a file of an old version."""


def test_inspect_file__old_file_with_paths(
    metadata: ModelMetadata, tiny_model: Path, tmp_path: Path
) -> None:
    provenance = metadata.provenance
    old = replace(
        metadata,
        digest=PLACEHOLDER,
        provenance={
            **provenance,
            "config": provenance["config"] | OLD_PATHS,
            "metrics": provenance["metrics"] | {"skipped": ["/home/someone/boats/train/x.jpg"]},
        },
    )
    path = save_metadata(tiny_model, old, tmp_path / "boats.onnx")
    inspected = inspect_file(path)
    config = inspected.provenance["config"]
    assert {key: config[key] for key in OLD_PATHS} == {
        "data": "boats", "weights": "weights.pth", "from_run": "first"
    }  # fmt: skip
    assert inspected.provenance["metrics"]["skipped"] == ["x.jpg"]
    assert "someone" not in json.dumps(asdict(inspected))
    assert "someone" not in "\n".join(describe_model(path, old))
    assert "someone" not in create_card(path, old)


def test_inspect_file__file_older_than_a_key(
    metadata: ModelMetadata, tiny_model: Path, tmp_path: Path
) -> None:
    config = {
        key: value for key, value in metadata.provenance["config"].items() if key != "from_run"
    }
    provenance = {**metadata.provenance, "config": config}
    del provenance["inputs"]
    old = replace(metadata, digest=PLACEHOLDER, provenance=provenance)
    path = save_metadata(tiny_model, old, tmp_path / "boats.onnx")
    assert inspect_file(path).provenance["config"] == config


def test_describe_model__control_characters_are_escaped(
    metadata: ModelMetadata, tiny_model: Path
) -> None:
    hostile = "x\x1b[2J\nproof\u202e"
    config = metadata.provenance["config"] | {"backbone": hostile, "weights": hostile}
    proof = metadata.provenance["proof"] | {"precision": hostile}
    provenance = {**metadata.provenance, "config": config, "proof": proof}
    changed = replace(metadata, provenance=provenance)
    lines = list(describe_model(tiny_model, changed))
    for text in (*lines, *create_card(tiny_model, changed).splitlines()):
        assert is_printable(text)
    assert lines.count("proof") == 1
    assert r"x\x1b[2J\x0aproof\u202e" in lines[1]


@pytest.mark.parametrize("text", ["", "imagenet", "none", "data", "."])
def test_base_name__not_a_path(text: str) -> None:
    assert base_name(text) == text


def test_create_card__escapes_names(metadata: ModelMetadata, tiny_model: Path) -> None:
    renamed = replace(metadata, labels=("<script>", "[a](b)", "to|pa"))
    card = create_card(tiny_model, renamed)
    assert "<script>" not in card
    assert "[a](b)" not in card
    assert r"\<script\>, \[a\](b), to\|pa" in card


def test_create_card__lists_the_proof(metadata: ModelMetadata, tiny_model: Path) -> None:
    card = create_card(tiny_model, metadata)
    assert metadata.digest in card
    for name, text in list_proof(metadata):
        assert f"- {name}: {text}\n" in card
    for name in metadata.provenance["metrics"]["splits"]:
        assert f"| {name} | " in card


@pytest.mark.parametrize(
    ("threshold", "added", "expected"),
    [
        (0.5, {"photos": 88},
         "below 0.50: coverage 90.0%, selective accuracy 95.0% on 88 training images, "
         "each while held out"),
        (0.0, {"photos": 88}, "no threshold"),
        (0.5, {}, "below 0.50: coverage 90.0%, selective accuracy 95.0%"),
        (None, {}, "no threshold"),
    ],
    ids=["threshold", "threshold 0", "file of an earlier version", "none"],
)  # fmt: skip
def test_describe_model__threshold(
    metadata: ModelMetadata,
    tiny_model: Path,
    threshold: float | None,
    added: dict[str, object],
    expected: str,
) -> None:
    point = {"threshold": threshold, "coverage": 0.9, "accuracy": 0.95, **added}
    provenance = {**metadata.provenance, "operating_point": point}
    changed = replace(metadata, threshold=threshold, provenance=provenance)
    assert f"  unknown   {expected}" in list(describe_model(tiny_model, changed))
    assert f"| unknown | {expected} |" in create_card(tiny_model, changed)
