"""Checks of a model file before ONNX Runtime opens it, because the file can come from anyone.

Only the content that `boats-export` writes is accepted: one graph of known operators with its
weights inside, in the shortest encoding, within limits of memory. A file that refers to other
files, has custom operators or functions, or has a graph inside a graph (such as a loop) is refused,
and so is a file that was changed after its export.
"""

from dataclasses import dataclass
from pathlib import Path

from boats_runtime.errors import ModelError
from boats_runtime.model.digest import verify_digest
from boats_runtime.model.graph import GraphError
from boats_runtime.model.memory import check_memory
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.model.protobuf import Message, Reader, RefusedError
from boats_runtime.model.schema import MODEL

MAX_BYTES = 1 << 30
"""Size of the largest file that is read; ResNet50 in float32 has a tenth of it."""

MAX_NODES = 20_000
"""Number of nodes of the largest graph; ResNet50 in int8 has 500."""

DOMAINS = ("", "ai.onnx")
"""Both names of the domain of the accepted operators."""

OPSETS = (18, 19, 20)
"""Versions of the operators that `boats-export` can write."""

ORT_FORMAT = b"ORTM"
"""Bytes 4 to 7 of a file in ONNX Runtime's own format, which these checks cannot read."""


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
    if content[4:8] == ORT_FORMAT:
        raise ModelError("refused: it is in ONNX Runtime's own format, not in that of ONNX")
    try:
        model = Reader().read(memoryview(content), MODEL)
        if "graph" not in model:
            raise ModelError("not an ONNX model, or a damaged one")
        _check_opsets(model)
        _check_nodes(model["graph"])
        check_memory(model["graph"])
        return _read_properties(model)
    except (RefusedError, GraphError) as error:
        raise ModelError(f"refused: {error}") from error
    except ValueError as error:
        raise ModelError("not an ONNX model, or a damaged one") from error


def _check_opsets(model: Message) -> None:
    opsets = model.get("opset_import", ())
    for opset in opsets:
        _check_domain(opset)
    if len(opsets) != 1 or opsets[0].get("version") not in OPSETS:
        raise GraphError(f"it does not use one of the opsets {OPSETS[0]} to {OPSETS[-1]}")


def _check_nodes(graph: Message) -> None:
    nodes = graph.get("node", ())
    if len(nodes) > MAX_NODES:
        raise GraphError(f"{len(nodes):,} nodes, more than {MAX_NODES:,}")
    for node in nodes:
        _check_domain(node)


def _check_domain(message: Message) -> None:
    domain = message.get("domain", "")
    if domain not in DOMAINS:
        raise GraphError(f"operators of {domain[:80]!r}, a domain outside the ONNX standard")


def _read_properties(model: Message) -> dict[str, str]:
    properties: dict[str, str] = {}
    for entry in model.get("metadata_props", ()):
        key = entry.get("key", "")
        if key in properties:
            raise GraphError(f"it has the metadata {key[:80]!r} twice")
        properties[key] = entry.get("value", "")
    return properties
