"""Graphs that need too much memory, or whose needs cannot be known, are refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from boats_runtime.classifier import Classifier
from boats_runtime.errors import ModelError
from boats_runtime.model import memory, shapes
from boats_runtime.model.file import check_content

FRAME = """
<ir_version: 10, opset_import: ["" : 18]>
g (uint8[{batch}, 64, 160, 3] image) => (float y)
{{
    batch_size = Shape<start = 0, end = 1>(image)
    {body}
}}
"""

WEIGHTS = {
    "small": np.float32(1),
    "row": np.zeros((1, 100_000), np.float32),
    "zero": np.array([0]),
    "one": np.array([1]),
    "fill": np.array([1_000_000_000]),
    "side": np.array([1_000_000]),
    "large": np.array([65536, 65536]),
    "column": np.array([-1, 1]),
    "quadruple": np.array([1, 1, 1, 4]),
    "border": np.array([0, 0, 0, 0, 0, 100_000, 100_000, 0]),
    "margin": np.array([0, 0, 500, 500, 0, 0, 500, 500]),
    "kernel": np.zeros((1, 3, 500, 500), np.float32),
}


def make_graph(body: str, batch: str = "batch") -> bytes:
    """Return a model of nodes between the input `image` and the output `y`."""
    model = parser.parse_model(FRAME.format(body=body, batch=batch))
    for name, value in WEIGHTS.items():
        if name in body:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model.SerializeToString()


LARGE = "needs more than 1 GiB"
UNKNOWN = "its shape depends on the content of the image"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = ConstantOfShape(large)", LARGE),
        ("y = Expand(small, large)", LARGE),
        ("e = Expand(small, one) \n t = Tile(e, fill) \n y = Identity(t)", LARGE),
        ("f = Cast<to = 1>(image) \n y = Pad(f, border)", LARGE),
        ("f = Reshape(image, column) \n c = Cast<to = 1>(f) \n y = MatMul(c, row)", LARGE),
        ("s = Concat<axis = 0>(batch_size, batch_size) \n y = Expand(small, s)", LARGE),
        ("p = Mul(batch_size, batch_size) \n y = Expand(small, p)", UNKNOWN),
        ("p = Add(batch_size, one) \n y = Expand(small, p)", UNKNOWN),
        ("p = Div(fill, batch_size) \n y = Expand(small, p)", UNKNOWN),
        ("p = Cast<to = 7>(image) \n q = Reshape(p, column) \n y = Expand(small, q)", UNKNOWN),
        ("first = Slice(image, zero, one, zero) \n y = Cast<to = 1>(first)", "some of the images"),
        ("n = NonZero(image) \n y = Cast<to = 1>(n)", "'NonZero'"),
        ("y = RandomNormal<shape = [4]>()", "'RandomNormal'"),
        ("y = Cast<to = 1>(later) \n later = Cast<to = 1>(image)", "not defined before it"),
        ("y = Cast<to = 1>(image) \n y = Cast<to = 1>(image)", "not defined exactly once"),
        ("y = Cast<to = 8>(image)", "a cast to type 8"),
        ("x = Cast<to = 1>(image)", "an output is not defined"),
        ("y = Reshape(small, large)", "does not fit"),
    ],
)  # fmt: skip
def test_check_memory__refused(body: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_content(make_graph(body))


def test_check_memory__results_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each result has 122,880 bytes for an image; two of the first kind are needed at a time.
    steps = "a = Cast<to = 1>(image) \n b = Relu(a) \n c = Relu(b) \n y = Relu(c)"
    kept = "a = Cast<to = 1>(image) \n b = Relu(a) \n c = Relu(b) \n y = Sum(a, b, c)"
    size = 64 * 160 * 3 * 4
    monkeypatch.setattr(memory, "MAX_TOTAL_BYTES", 2 * size + 100)
    check_content(make_graph(steps))
    with pytest.raises(ModelError, match="its results need more than"):
        check_content(make_graph(kept))


def test_check_memory__constants_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # ONNX Runtime computes and keeps them when it opens the file.
    body = "\n".join(f"c{n} = ConstantOfShape(side) \n s{n} = ReduceSum(c{n})" for n in range(9))
    body += "\n y = Sum(s0, s1)"
    monkeypatch.setattr(memory, "MAX_TOTAL_BYTES", 8 * 4_000_000)
    with pytest.raises(ModelError, match="its results need more than"):
        check_content(make_graph(body))


@pytest.mark.parametrize(("batch", "accepted"), [("batch", True), ("4", True), ("4000", False)])
def test_check_memory__declared_batch(batch: str, accepted: bool) -> None:
    content = make_graph("f = Cast<to = 1>(image) \n y = Tile(f, quadruple)", batch)
    if accepted:
        check_content(content)
    else:
        with pytest.raises(ModelError, match=LARGE):
            check_content(content)


def test_check_memory__window_of_a_convolution() -> None:
    body = "t = Transpose<perm = [0, 3, 1, 2]>(image) \n f = Cast<to = 1>(t) \n"
    body += "p = Pad(f, margin) \n y = Conv(p, kernel)"
    with pytest.raises(ModelError, match="its windows need more than 1 GiB"):
        check_content(make_graph(body))


@pytest.mark.parametrize("batch", [1, 3])
def test_infer_results__shapes_of_onnx(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    model = onnx.load(tiny_model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    inferred = {}
    rules = {
        name: (lambda node, rule=rule: [inferred.setdefault(len(inferred), r) for r in rule(node)])
        for name, rule in shapes.RULES.items()
    }
    monkeypatch.setattr(shapes, "RULES", rules)
    check_content(model.SerializeToString())
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    known = {
        value.name: (
            value.type.tensor_type.elem_type,
            tuple(size.dim_value for size in value.type.tensor_type.shape.dim),
        )
        for value in (*graph.value_info, *graph.output)
    }
    firsts = [node.output[0] for node in graph.node]
    extra = sum(node.op_type == "MaxPool" for node in graph.node)
    assert len(inferred) == len(firsts) + extra
    shapes_found = {(value.dtype, value.shape) for value in inferred.values()}
    assert all(known[name] in shapes_found for name in firsts)


def test_check_content__exported_files_open(tiny_model: Path) -> None:
    assert Classifier(tiny_model, "cpu").provider == "cpu"
