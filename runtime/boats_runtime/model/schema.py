"""The messages and fields of ONNX that `boats-export` writes; all others are refused.

The numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from boats_runtime.model.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, Schema


def _number(name: str, *, repeated: bool = False) -> Field:
    return Field(name, VARINT, "number", repeated)


def _int32(name: str) -> Field:
    return Field(name, VARINT, "int32")


def _text(name: str, *, repeated: bool = False) -> Field:
    return Field(name, BYTES, "text", repeated)


def _bytes(name: str, *, repeated: bool = False) -> Field:
    return Field(name, BYTES, "bytes", repeated)


def _array(name: str, wire_type: int) -> Field:
    return Field(name, wire_type, "array", repeated=True)


def _message(schema: Schema, name: str, *, repeated: bool = False) -> Field:
    return Field(name, BYTES, "message", repeated, schema)


def _refused(name: str, reason: str) -> Field:
    return Field(name, BYTES, "message", refusal=reason)


EXTERNAL = "it has weights in other files"
_SUBGRAPH = "it has a graph in a graph, such as a loop"
_SPARSE = "it has sparse weights"

ENTRY = Schema("StringStringEntryProto", {1: _text("key"), 2: _text("value")})

TENSOR = Schema(
    "TensorProto",
    {
        1: _number("dims", repeated=True),
        2: _int32("data_type"),
        4: _array("float_data", FIXED32),
        5: Field("int32_data", VARINT, "int32 array", repeated=True),
        7: _array("int64_data", VARINT),
        8: _text("name"),
        9: _bytes("raw_data"),
        10: _array("double_data", FIXED64),
        11: _array("uint64_data", VARINT),
        12: _text("doc_string"),
        13: _refused("external_data", EXTERNAL),
        14: _int32("data_location"),
        16: _message(ENTRY, "metadata_props", repeated=True),
    },
)

ATTRIBUTE = Schema(
    "AttributeProto",
    {
        1: _text("name"),
        2: Field("f", FIXED32, "float"),
        3: _number("i"),
        4: _bytes("s"),
        5: _message(TENSOR, "t"),
        6: _refused("g", _SUBGRAPH),
        7: _array("floats", FIXED32),
        8: _number("ints", repeated=True),
        9: _bytes("strings", repeated=True),
        11: _refused("graphs", _SUBGRAPH),
        13: _text("doc_string"),
        20: _int32("type"),
        22: _refused("sparse_tensor", _SPARSE),
        23: _refused("sparse_tensors", _SPARSE),
    },
)

NODE = Schema(
    "NodeProto",
    {
        1: _text("input", repeated=True),
        2: _text("output", repeated=True),
        3: _text("name"),
        4: _text("op_type"),
        5: _message(ATTRIBUTE, "attribute", repeated=True),
        6: _text("doc_string"),
        7: _text("domain"),
        9: _message(ENTRY, "metadata_props", repeated=True),
    },
)

DIMENSION = Schema(
    "Dimension", {1: _number("dim_value"), 2: _text("dim_param"), 3: _text("denotation")}
)
SHAPE = Schema("TensorShapeProto", {1: _message(DIMENSION, "dim", repeated=True)})
TENSOR_TYPE = Schema("TypeProto.Tensor", {1: _int32("elem_type"), 2: _message(SHAPE, "shape")})
TYPE = Schema("TypeProto", {1: _message(TENSOR_TYPE, "tensor_type"), 6: _text("denotation")})
VALUE = Schema(
    "ValueInfoProto",
    {
        1: _text("name"),
        2: _message(TYPE, "type"),
        3: _text("doc_string"),
        4: _message(ENTRY, "metadata_props", repeated=True),
    },
)

GRAPH = Schema(
    "GraphProto",
    {
        1: _message(NODE, "node", repeated=True),
        2: _text("name"),
        5: _message(TENSOR, "initializer", repeated=True),
        10: _text("doc_string"),
        11: _message(VALUE, "input", repeated=True),
        12: _message(VALUE, "output", repeated=True),
        13: _message(VALUE, "value_info", repeated=True),  # in files of 0.1.0 with opset 19 and 20
        15: _refused("sparse_initializer", _SPARSE),
        16: _message(ENTRY, "metadata_props", repeated=True),
    },
)

OPSET = Schema("OperatorSetIdProto", {1: _text("domain"), 2: _number("version")})

MODEL = Schema(
    "ModelProto",
    {
        1: _number("ir_version"),
        2: _text("producer_name"),
        3: _text("producer_version"),
        4: _text("domain"),
        5: _number("model_version"),
        6: _text("doc_string"),
        7: _message(GRAPH, "graph"),
        8: _message(OPSET, "opset_import", repeated=True),
        14: _message(ENTRY, "metadata_props", repeated=True),
        25: Field("functions", BYTES, "message", refusal="it defines its own functions"),
    },
)
