import ast
import json
from pathlib import Path

import onnx
import onnxruntime
import pytest

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import PLACEHOLDER
from boats_runtime.model.metadata import SCHEMA_VERSION, ModelMetadata
from boats_runtime.preprocessing import Preprocessing

LABELS = (
    "Motopontone rettangolare",
    "gòndola",
    "topa, a motore",
    'l\'"altra"',
    "船",
    "null",
    "a\\nb",
    " ",
)
KEYS = ("schema_version", "labels", "preprocessing", "threshold", "provenance", "digest")
METADATA = ModelMetadata(
    LABELS,
    Preprocessing(240, 800),
    0.79,
    {"metrics": {"accuracy": 0.875}, "parity": None, "n": [1, 2]},
    "0123456789abcdef" * 4,
)


def test_from_properties__round_trip() -> None:
    assert ModelMetadata.from_properties(METADATA.to_properties()) == METADATA


def test_from_properties__round_trip_through_a_file(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [other]
    )
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    onnx.helper.set_model_props(model, METADATA.to_properties())
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    read = ModelMetadata.from_properties(session.get_modelmeta().custom_metadata_map)
    assert read == METADATA


def test_from_properties__ignores_other_keys() -> None:
    properties = METADATA.to_properties() | {"boats.note": "{", "author": "someone"}
    assert ModelMetadata.from_properties(properties) == METADATA


def test_to_properties__keys_for_other_tools() -> None:
    properties = METADATA.to_properties()
    assert ast.literal_eval(properties["names"]) == dict(enumerate(LABELS))
    assert json.loads(properties["imgsz"]) == [240, 800]
    assert properties["task"] == "classify"
    assert properties["Image.BitmapPixelFormat"] == "Rgb8"


@pytest.mark.parametrize("key", KEYS)
def test_from_properties__missing_value(key: str) -> None:
    properties = METADATA.to_properties()
    del properties[f"boats.{key}"]
    with pytest.raises(ModelError, match=rf"no boats\.{key} .* export it with boats-export"):
        ModelMetadata.from_properties(properties)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("text", ["", "{", "[1,", "{'a': 1}", "[" * 200_000, "1" * 5000])
def test_from_properties__malformed_value(key: str, text: str) -> None:
    with pytest.raises(ModelError, match=r"(metadata|preprocessing): "):
        ModelMetadata.from_properties(METADATA.to_properties() | {f"boats.{key}": text})


def test_from_properties__newer_schema() -> None:
    newer = {"boats.schema_version": str(SCHEMA_VERSION + 1)}
    with pytest.raises(ModelError, match=r"install a newer boats"):
        ModelMetadata.from_properties(METADATA.to_properties() | newer)


def test_to_properties__schema_is_that_of_the_preprocessing() -> None:
    # Versions of boats that know one preprocessing only refuse schema 2 with a clear message.
    for version in (1, 2):
        metadata = ModelMetadata(LABELS, Preprocessing(240, 800, version=version))
        properties = metadata.to_properties()
        assert properties["boats.schema_version"] == str(version)
        assert ModelMetadata.from_properties(properties) == metadata


def test_from_properties__newer_preprocessing() -> None:
    values = json.loads(METADATA.to_properties()["boats.preprocessing"]) | {"version": 3}
    newer = {"boats.preprocessing": json.dumps(values)}
    with pytest.raises(ModelError, match=r"preprocessing has version 3.*install a newer boats"):
        ModelMetadata.from_properties(METADATA.to_properties() | newer)


@pytest.mark.parametrize("version", ["0", "-1", "true", "1.0", '"1"', "null", "[1]"])
def test_from_properties__malformed_schema_version(version: str) -> None:
    with pytest.raises(ModelError, match="schema_version is"):
        ModelMetadata.from_properties(METADATA.to_properties() | {"boats.schema_version": version})


@pytest.mark.parametrize(
    ("key", "text"),
    [
        *(
            ("labels", text)
            for text in (
                "[]", '["a"]', '["a", "a"]', '["a", ""]', '["a", 1]', '["a", null]',
                '[["a"], ["b"]]', '{"a": 1, "b": 2}', '"ab"', "null",
            )
        ),
        *(("provenance", text) for text in ("[]", "null", '"x"', "3")),
        *(("digest", text) for text in ("null", "3", '["a"]', "{}")),
        *(
            ("threshold", text)
            for text in (
                "-0.1", "1.5", "true", "false", '"0.5"', "NaN", "Infinity", "[0.5]", "{}",
            )
        ),
    ],
)  # fmt: skip
def test_from_properties__wrong_type_or_range(key: str, text: str) -> None:
    with pytest.raises(ModelError, match=key):
        ModelMetadata.from_properties(METADATA.to_properties() | {f"boats.{key}": text})


@pytest.mark.parametrize(
    ("text", "threshold"), [("null", None), ("0", 0), ("0.79", 0.79), ("1", 1), ("1.0", 1)]
)
def test_from_properties__threshold(text: str, threshold: float | None) -> None:
    read = ModelMetadata.from_properties(METADATA.to_properties() | {"boats.threshold": text})
    assert read.threshold == threshold
    assert ModelMetadata.from_properties(read.to_properties()) == read


def test_model_metadata__defaults() -> None:
    plain = ModelMetadata(("a", "b"), Preprocessing(8, 8))
    assert (plain.threshold, dict(plain.provenance), plain.digest) == (None, {}, PLACEHOLDER)
    assert ModelMetadata.from_properties(plain.to_properties()) == plain


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan"), True, "0.5"])
def test_model_metadata__threshold_out_of_range(threshold: object) -> None:
    with pytest.raises(ModelError, match=r"threshold is .*, expected 0 to 1"):
        ModelMetadata(("a", "b"), Preprocessing(8, 8), threshold)


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "b", "a"), ("a", ""), ("a", 2)])
def test_model_metadata__not_two_different_labels(labels: tuple[object, ...]) -> None:
    with pytest.raises(ModelError, match="at least two different names"):
        ModelMetadata(labels, Preprocessing(8, 8))
