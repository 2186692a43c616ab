"""A model file looked over before ONNX Runtime opens it: it is data, and may come from anybody.

Only what `boats-export` writes is let through: one graph of standard operators with its weights
inside. A file that points to other files, brings operators or functions of its own, or holds a
graph in a graph (loops) is refused, and so is one that was changed since its export.

The numbers of the fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from dataclasses import dataclass
from pathlib import Path

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import verify_digest as verify_content_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.model.protobuf import read_fields

MAX_BYTES = 1 << 30
"""Largest file that is read; ResNet50 in float32 has a tenth of it."""

MAX_NODES = 20_000
"""Largest graph; an int8 ResNet50 has 500 nodes."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Whose operators are let through: the ONNX standard's."""

_GRAPH, _OPSET, _PROPERTY, _FUNCTION = 7, 8, 14, 25
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSES = 5, 6, 10, 11, (22, 23)
_EXTERNAL, _LOCATION = 13, 14


@dataclass(frozen=True)
class ModelFile:
    """A model file that may be opened.

    Attributes:
        path: Where it was read.
        content: The whole file; what is opened is what was looked over, not the file as it may be
            by then.
        metadata: What it says of itself.
    """

    path: Path
    content: bytes
    metadata: ModelMetadata

    def verify_digest(self) -> None:
        """Checks the file against its own digest, which takes longest of all the checks.

        Raises:
            ModelError: It was changed since its export.
        """
        try:
            verify_content_digest(self.content, self.metadata.digest)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from error


def read_model(path: Path) -> ModelFile:
    """Reads a model file and looks it over; whether it was changed, `verify_digest` tells.

    Raises:
        ModelError: It is missing or too large, is no model of `boats-export`, or holds something
            that no such file holds.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"larger than {MAX_BYTES >> 30} GiB, which no model of boats is")
        content = path.read_bytes()
        metadata = ModelMetadata.from_properties(check_content(content))
    except OSError as error:
        raise ModelError(f"{path}: can't be read: {error.strerror}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return ModelFile(path, content, metadata)


def check_content(content: bytes) -> dict[str, str]:
    """Looks over a model as it is written in a file.

    Args:
        content: The file.

    Returns:
        Its metadata properties.

    Raises:
        ModelError: It is no ONNX model, or holds something that no file of `boats-export` holds.
    """
    properties: dict[str, str] = {}
    graphs = 0
    try:
        for number, value in read_fields(memoryview(content)):
            if number == _GRAPH:
                _check_graph(_message(value))
                graphs += 1
            elif number == _OPSET:
                _check_domain(_text_of(value, 1))
            elif number == _PROPERTY:
                properties[_text_of(value, 1)] = _text_of(value, 2)
            elif number == _FUNCTION:
                raise ModelError("refused: it brings functions of its own")
    except ValueError as error:
        raise ModelError("not an ONNX model, or a damaged one") from error
    if graphs != 1:
        raise ModelError("not an ONNX model, or a damaged one")
    return properties


def _check_graph(graph: memoryview) -> None:
    nodes = 0
    for number, value in read_fields(graph):
        if number == _NODE:
            nodes += 1
            _check_node(_message(value))
        elif number == _INITIALIZER:
            _check_tensor(value)
        elif number == _SPARSE:
            raise ModelError("refused: it holds sparse weights, which boats-export never writes")
    if nodes > MAX_NODES:
        raise ModelError(f"refused: {nodes:,} nodes, more than {MAX_NODES:,}")


def _check_node(node: memoryview) -> None:
    for number, value in read_fields(node):
        if number == _DOMAIN:
            _check_domain(_text(value))
        elif number == _ATTRIBUTE:
            for kind, part in read_fields(_message(value)):
                if kind in (_SUBGRAPH, _SUBGRAPHS):
                    raise ModelError("refused: it holds a graph in a graph, such as a loop")
                if kind in _SPARSES:
                    raise ModelError("refused: it holds sparse weights")
                if kind in (_TENSOR, _TENSORS):
                    _check_tensor(part)


def _check_domain(domain: str) -> None:
    if domain not in DOMAINS:
        raise ModelError(f"refused: operators of {domain!r}, which is not of the ONNX standard")


def _check_tensor(tensor: int | memoryview) -> None:
    for number, value in read_fields(_message(tensor)):
        if number == _EXTERNAL or (number == _LOCATION and value != 0):
            raise ModelError("refused: it keeps weights in other files; a model of boats is one")


def _text_of(message: int | memoryview, field: int) -> str:
    """Returns a text field, the last one as the format has it; empty where there is none."""
    texts = [_text(value) for number, value in read_fields(_message(message)) if number == field]
    return texts[-1] if texts else ""


def _text(value: int | memoryview) -> str:
    return str(_message(value), "utf-8")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value
