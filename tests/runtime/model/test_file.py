from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from boats_runtime.errors import ModelError
from boats_runtime.model import file as model_file
from boats_runtime.model.digest import write_digest
from boats_runtime.model.file import check_content, read_model
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing


def make_model() -> onnx.ModelProto:
    """Return a small model with every kind of accepted content."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    constant = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("", 1, [1], [2.0]))
    nodes = [constant, helper.make_node("ReduceMean", ["x", "axes"], ["y"], domain="ai.onnx")]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [value], [output], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    metadata = ModelMetadata(("a", "b"), Preprocessing(4, 6))
    helper.set_model_props(model, metadata.to_properties())
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(write_digest(model.SerializeToString()))
    return path


def test_read_model__content_and_metadata(tmp_path: Path) -> None:
    path = save(make_model(), tmp_path / "m.onnx")
    file = read_model(path)
    file.verify_digest()
    assert file.content == path.read_bytes()
    assert file.metadata.labels == ("a", "b")
    assert file.metadata.digest.encode() in file.content


def test_read_model__exported_file(tiny_model: Path) -> None:
    assert len(read_model(tiny_model).metadata.labels) == 3


def test_read_model__shapes_of_intermediate_values(tmp_path: Path) -> None:
    # boats 0.1.0 wrote them into files of opset 19 and 20.
    model = make_model()
    model.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [1]))
    assert read_model(save(model, tmp_path / "m.onnx")).metadata.labels == ("a", "b")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_verify_digest__one_changed_bit(tiny_model: Path, tmp_path: Path, share: float) -> None:
    content = bytearray(tiny_model.read_bytes())
    content[int(len(content) * share)] ^= 1
    path = tmp_path / "changed.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{path}: the content does not match its digest"):
        read_model(path).verify_digest()


def test_read_model__missing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(ModelError, match=f"{path}: no such model file"):
            read_model(path)


def test_read_model__too_large(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as stream:
        stream.truncate((1 << 30) + 1)  # a sparse file
    with pytest.raises(ModelError, match="larger than 1 GiB"):
        read_model(path)


def test_check_content__properties() -> None:
    model = make_model()
    assert check_content(model.SerializeToString()) == {
        entry.key: entry.value for entry in model.metadata_props
    }


def add_external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def add_external_without_location(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def add_external_constant(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute[0].t.data_location = TensorProto.EXTERNAL


def add_domain(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="com.evil", version=1)


def add_foreign_node(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.microsoft"


def add_function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="")


def add_loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["z"], body=body))


def add_branches(model: onnx.ModelProto) -> None:
    node = helper.make_node("If", ["x"], ["z"])
    node.attribute.add(name="branches", type=onnx.AttributeProto.GRAPHS).graphs.add(name="g")
    model.graph.node.append(node)


def add_sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(dims=[1])


def add_sparse_constant(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.add(name="sparse_value").sparse_tensor.dims.append(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_external, "weights in other files"),
        (add_external_without_location, "weights in other files"),
        (add_external_constant, "weights in other files"),
        (add_domain, "operators of 'com.evil'"),
        (add_foreign_node, "operators of 'com.microsoft'"),
        (add_function, "its own functions"),
        (add_loop, "a graph in a graph"),
        (add_branches, "a graph in a graph"),
        (add_sparse, "sparse weights"),
        (add_sparse_constant, "sparse weights"),
    ],
)
def test_read_model__refused(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = make_model()
    change(model)
    path = save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=message) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: refused: ")
    assert "\n" not in str(caught.value)


def test_check_content__too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "MAX_NODES", 2)
    model = make_model()
    check_content(model.SerializeToString())
    model.graph.node.append(model.graph.node[0])
    with pytest.raises(ModelError, match="3 nodes, more than 2"):
        check_content(model.SerializeToString())


@pytest.mark.parametrize(
    "content", [b"", b"not a model\n", bytes(100), b"\xff" * 1000, b"\x3a\x01"]
)
def test_check_content__not_a_model(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"^not an ONNX model, or a damaged one$"):
        check_content(content)


def test_check_content__two_graphs() -> None:
    content = make_model().SerializeToString()
    with pytest.raises(ModelError, match=r"field ModelProto\.ir_version twice"):
        check_content(content + content)


def test_check_content__malformed_text() -> None:
    # A property with a number as its key, and one with a key that is not UTF-8.
    for entry in (b"\x08\x01", b"\x0a\x01\xff"):
        content = make_model().SerializeToString() + b"\x72" + bytes([len(entry)]) + entry
        with pytest.raises(ModelError, match="not an ONNX model"):
            check_content(content)
