from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from boats_runtime.errors import ModelError
from boats_runtime.model.describe import create_card, format_proof, inspect_file, list_proof
from boats_runtime.model.digest import PLACEHOLDER, write_digest
from boats_runtime.model.metadata import ModelMetadata


@pytest.fixture(scope="module")
def metadata(tiny_model: Path) -> ModelMetadata:
    return inspect_file(tiny_model)


def replace_proof(metadata: ModelMetadata, **changes: object) -> ModelMetadata:
    proof = metadata.provenance["proof"] | changes
    return replace(metadata, provenance={**metadata.provenance, "proof": proof})


@pytest.mark.parametrize(
    "provenance", [{}, {"proof": None, "config": {}}, {"proof": [], "config": [1]}]
)
def test_inspect_file__valid_digest_but_malformed_provenance(
    metadata: ModelMetadata, tiny_model: Path, tmp_path: Path, provenance: dict[str, object]
) -> None:
    model = onnx.load(tiny_model)
    template = replace(metadata, provenance=provenance, digest=PLACEHOLDER)
    onnx.helper.set_model_props(model, template.to_properties())
    path = tmp_path / "boats.onnx"
    path.write_bytes(write_digest(model.SerializeToString()))
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
