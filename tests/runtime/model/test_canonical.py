"""Files that a parser of Protocol Buffers reads as another model than a check of its fields."""

from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from boats_runtime.errors import ModelError
from boats_runtime.model.file import check_content
from boats_runtime.providers.session import open_session
from support.damaged_files import make_model_file
from support.wire import (
    END_GROUP,
    FIXED32,
    START_GROUP,
    VARINT,
    WireField,
    decode,
    encode,
    encode_varint,
    number,
    text,
)

Change = Callable[[list[WireField]], list[WireField]]

GRAPH, OPSET, PROPERTY = 7, 8, 14


def change_message(content: bytes, path: tuple[int, ...], change: Change) -> bytes:
    """Return a model with a changed list of fields in the first message at a path of numbers."""
    fields = decode(content)
    if not path:
        return encode(change(fields))
    index = next(i for i, field in enumerate(fields) if field.number == path[0])
    fields[index] = text(path[0], change_message(fields[index].payload, path[1:], change))
    return encode(fields)


HIDDEN = 1 << 29
"""Added to the number of a field: ONNX Runtime keeps 32 bits of the key, which drops it."""


def hide_loop(content: bytes) -> bytes:
    """Add a loop that does not end, with its body in a field of a hidden number."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["i"], ["j"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []),
         helper.make_tensor_value_info("j", TensorProto.INT64, [])],
    )  # fmt: skip
    attribute = [text(1, "body"), number(20, 5), text(6 + HIDDEN, body.SerializeToString())]
    constant = helper.make_node("Constant", [], ["true"], value=helper.make_tensor("", 9, [], [1]))
    loop = [text(1, ""), text(1, "true"), text(2, "z"), text(4, "Loop"), text(5, encode(attribute))]
    nodes = [text(1, constant.SerializeToString()), text(1, encode(loop))]
    return change_message(content, (GRAPH,), lambda fields: [*nodes, *fields])


def hide_external_data(content: bytes) -> bytes:
    """Move the first weights to another file, named in a field of a hidden number."""
    location = encode([text(1, "location"), text(2, "missing.bin")])
    hidden = [text(13 + HIDDEN, location), number(14 + HIDDEN, 1)]
    return change_message(content, (GRAPH, 5), lambda fields: [*fields, *hidden])


def test_check_content__hidden_loop() -> None:
    content = hide_loop(make_model_file())
    # ONNX Runtime sees the loop; it would run without end.
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["image"]
    with pytest.raises(ModelError, match="not an ONNX model"):
        check_content(content)


def test_check_content__hidden_external_data() -> None:
    content = hide_external_data(make_model_file())
    with pytest.raises(Exception, match=r"missing\.bin"):  # ONNX Runtime looks for the file
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="not an ONNX model"):
        check_content(content)


def repeat(number_of_field: int) -> Change:
    return lambda fields: fields + [f for f in fields if f.number == number_of_field][:1]


def add(field: WireField) -> Change:
    return lambda fields: [*fields, field]


def lengthen_key(fields: list[WireField]) -> list[WireField]:
    first = fields[0]
    return [WireField(first.number, first.wire_type, first.payload, extra=1), *fields[1:]]


def lengthen_number(fields: list[WireField]) -> list[WireField]:
    return [
        WireField(f.number, VARINT, encode_varint(18, extra=3)) if f.wire_type == VARINT else f
        for f in fields
    ]


@pytest.mark.parametrize(
    ("path", "change"),
    [
        pytest.param((), repeat(GRAPH), id="second graph"),
        pytest.param((), repeat(1), id="second IR version"),
        pytest.param((), repeat(OPSET), id="second opset"),
        pytest.param((), repeat(PROPERTY), id="second metadata entry"),
        pytest.param((), add(text(15, "x")), id="unknown field of the model"),
        pytest.param((), add(text(25, b"")), id="function"),
        pytest.param((), add(text(20, b"")), id="training"),
        pytest.param((), add(text(26, b"")), id="device configuration"),
        pytest.param((), lengthen_key, id="over-long key"),
        pytest.param((), add(WireField(15, START_GROUP, b"\x7c")), id="group"),
        pytest.param((), add(WireField(15, END_GROUP, b"")), id="end of a group"),
        pytest.param((), add(WireField(0, VARINT, b"\x01")), id="field 0"),
        pytest.param((OPSET,), lengthen_number, id="over-long number"),
        pytest.param((OPSET,), repeat(2), id="second opset version"),
        pytest.param((PROPERTY,), repeat(2), id="second value of a metadata entry"),
        pytest.param((GRAPH,), add(text(15, b"")), id="sparse weights"),
        pytest.param((GRAPH,), add(text(14, b"")), id="quantization annotation"),
        pytest.param((GRAPH, 1), repeat(4), id="second operator"),
        pytest.param((GRAPH, 1), add(text(8, "x")), id="overload"),
        pytest.param((GRAPH, 1, 5), repeat(20), id="second attribute type"),
        pytest.param((GRAPH, 1, 5), add(text(21, "x")), id="reference to an attribute"),
        pytest.param((GRAPH, 1, 5), add(number(3, 1)), id="second attribute value"),
        pytest.param((GRAPH, 5), repeat(2), id="second data type"),
        pytest.param((GRAPH, 5), add(text(3, b"")), id="segment"),
        pytest.param((GRAPH, 5), add(number(14, 1)), id="data location"),
        pytest.param((GRAPH, 5), add(number(14, (1 << 32) + 1)), id="data location of 33 bits"),
        pytest.param((GRAPH, 5), add(WireField(1, FIXED32, bytes(4))), id="wrong wire type"),
        pytest.param((GRAPH, 11, 2), add(text(4, b"")), id="sequence"),
        pytest.param((GRAPH, 11, 2, 1), repeat(2), id="second shape"),
    ],
)
def test_check_content__not_canonical(path: tuple[int, ...], change: Change) -> None:
    content = make_model_file()
    check_content(content)
    changed = change_message(content, path, change)
    with pytest.raises(ModelError, match=r"^(refused: |not an ONNX model)"):
        check_content(changed)


def test_check_content__format_of_onnx_runtime() -> None:
    # A document string of 26 bytes before the model puts the mark where ONNX Runtime looks for it.
    content = text(6, b"xxORTM" + b"x" * 20).encode() + make_model_file()
    assert content[4:8] == b"ORTM"
    onnx.checker.check_model(onnx.load_model_from_string(content))
    with pytest.raises(ModelError, match="ONNX Runtime's own format"):
        check_content(content)


def test_open_session__opens_no_other_format(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ort"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(tiny_model, options, providers=["CPUExecutionProvider"])
    assert path.read_bytes()[4:8] == b"ORTM"
    with pytest.raises(ModelError, match="not a model ONNX Runtime can open"):
        open_session(path.read_bytes(), "cpu")
