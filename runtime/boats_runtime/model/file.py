"""Checks of a model file before ONNX Runtime opens it, because the file can come from anyone.

Only the content that `boats-export` writes is accepted: one graph of standard operators with its
weights inside. A file that refers to other files, has custom operators or functions, or has a graph
inside a graph (such as a loop) is refused, and so is a file that was changed after its export.

The field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from dataclasses import dataclass
from pathlib import Path

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import verify_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.model.protobuf import read_fields

MAX_BYTES = 1 << 30
"""Size of the largest file that is read; ResNet50 in float32 has a tenth of it."""

MAX_NODES = 20_000
"""Number of nodes of the largest graph; ResNet50 in int8 has 500."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""Domains of the accepted operators: those of the ONNX standard."""

_GRAPH, _OPSET, _PROPERTY, _FUNCTION = 7, 8, 14, 25
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15
_ATTRIBUTE, _DOMAIN = 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE_TENSORS = 5, 6, 10, 11, (22, 23)
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


@dataclass(frozen=True)
class ModelFile:
    """A model file that passed the checks.

    Attributes:
        path: Path from which it was read.
        content: Whole file. Sessions open these checked bytes, because the file at the path can
            change in the meantime.
        metadata: Metadata in the file.
    """

    path: Path
    content: bytes
    metadata: ModelMetadata

    def verify_digest(self) -> None:
        """Check the file against its own digest, the slowest of all checks.

        Raises:
            ModelError: If the file was changed after its export.
        """
        try:
            verify_digest(self.content, self.metadata.digest)
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from error


def read_model(path: Path) -> ModelFile:
    """Read a model file and check its content, but not its digest: see `ModelFile.verify_digest`.

    Raises:
        ModelError: If the file is missing, too large, not a model of `boats-export`, or has content
            that `boats-export` never writes.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"larger than {MAX_BYTES >> 30} GiB, the limit for models of boats")
        content = path.read_bytes()
        metadata = ModelMetadata.from_properties(check_content(content))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return ModelFile(path, content, metadata)


def check_content(content: bytes) -> dict[str, str]:
    """Check the content of a model file.

    Returns:
        Metadata properties of the model.

    Raises:
        ModelError: If it is not an ONNX model, or has content that `boats-export` never writes.
    """
    properties: dict[str, str] = {}
    graphs = 0
    try:
        for number, value in read_fields(memoryview(content)):
            if number == _GRAPH:
                _check_graph(_to_message(value))
                graphs += 1
            elif number == _OPSET:
                _check_domain(_read_text(value, 1))
            elif number == _PROPERTY:
                properties[_read_text(value, 1)] = _read_text(value, 2)
            elif number == _FUNCTION:
                raise ModelError("refused: it defines its own functions")
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
            _check_node(_to_message(value))
        elif number == _INITIALIZER:
            _check_tensor(value)
        elif number == _SPARSE_INITIALIZER:
            raise ModelError("refused: it has sparse weights")
    if nodes > MAX_NODES:
        raise ModelError(f"refused: {nodes:,} nodes, more than {MAX_NODES:,}")


def _check_node(node: memoryview) -> None:
    for number, value in read_fields(node):
        if number == _DOMAIN:
            _check_domain(_to_text(value))
        elif number == _ATTRIBUTE:
            for field, content in read_fields(_to_message(value)):
                if field in (_SUBGRAPH, _SUBGRAPHS):
                    raise ModelError("refused: it has a graph in a graph, such as a loop")
                if field in _SPARSE_TENSORS:
                    raise ModelError("refused: it has sparse weights")
                if field in (_TENSOR, _TENSORS):
                    _check_tensor(content)


def _check_domain(domain: str) -> None:
    if domain not in DOMAINS:
        raise ModelError(f"refused: operators of {domain!r}, a domain outside the ONNX standard")


def _check_tensor(tensor: int | memoryview) -> None:
    for number, value in read_fields(_to_message(tensor)):
        if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
            raise ModelError("refused: it has weights in other files")


def _read_text(message: int | memoryview, field: int) -> str:
    """Return a text field; the last one if it is repeated, and an empty text if it is missing."""
    texts = [
        _to_text(value) for number, value in read_fields(_to_message(message)) if number == field
    ]
    return texts[-1] if texts else ""


def _to_text(value: int | memoryview) -> str:
    return str(_to_message(value), "utf-8")


def _to_message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("expected a message, found a number")
    return value
