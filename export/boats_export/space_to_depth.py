"""A network's first layers, rearranged for ONNX Runtime's 8-bit kernels: the same sums, sooner.

Those kernels have channels last, so ONNX Runtime normalises pixels in that layout, three values at
a time; whole rows are many times quicker. And a convolution of three channels gathers its input in
crumbs: one of stride 2 becomes one of stride 1 on blocks of 2x2 pixels, whose channels are stacked,
with fewer and longer pieces. That is exact, see "Use Space-to-depth transformation where possible"
in Qualcomm's network design guidelines for QNN. `benchmarks/precisions.py` tells what it gives.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

from boats_export.opset import IR_VERSION, OPSET
from boats_runtime.classifier import INPUT

LEAST_KERNEL = 5
"""Smaller kernels gather so little that stacking blocks costs what it saves."""

STEM = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
stem (uint8[batch, {height}, {width}, 3] {image}) => (float[batch, {depth}, {down}, {across}] {out})
<
    int64[5] "stem/pairs" = {{-1, {down}, {block}, {across}, {piece}}},
    int64[3] "stem/rows" = {{-1, {down}, {row}}},
    int64[4] "stem/layers" = {{-1, {down}, {across}, {depth}}}
>
{{
    "stem/in pairs" = Reshape({image}, "stem/pairs")
    {gather}
    "stem/in rows" = Reshape("stem/gathered", "stem/rows")
    "stem/levels" = Cast<to = 1>("stem/in rows")
    "stem/centred" = Sub("stem/levels", "stem/mean")
    "stem/scaled" = Div("stem/centred", "stem/std")
    "stem/in layers" = Reshape("stem/scaled", "stem/layers")
    "{out}" = Transpose<perm = [0, 3, 1, 2]>("stem/in layers")
}}
"""
"""From pixels to normalised ones, rows of blocks at a time; mean and std are as long as a row."""

GATHER = {
    1: '"stem/gathered" = Identity("stem/in pairs")',
    # A transpose of such short pieces is slower.
    2: """
    "stem/upper", "stem/lower" = Split<axis = 2, num_outputs = 2>("stem/in pairs")
    "stem/gathered" = Concat<axis = 4>("stem/upper", "stem/lower")
    """,
}
"""How the pieces of a block's rows come together, by the block's side."""


def apply_space_to_depth(network: onnx.ModelProto) -> onnx.ModelProto:
    """Rearranges the normalisation, and the first convolution if it is a large one of stride 2.

    Args:
        network: From `export_network`; left as it is.

    Returns:
        A network of the same input and the same features, but for the order of sums.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph = model.graph
    # It begins with a transpose, a cast, a subtraction and a division.
    (*_, subtract, divide), body = graph.node[:4], graph.node[4:]
    mean, std = (_values(graph, node.input[1]).reshape(3) for node in (subtract, divide))
    height, width = (size.dim_value for size in graph.input[0].type.tensor_type.shape.dim[1:3])
    out = divide.output[0]
    users = [node for node in body if out in node.input]
    block = 1
    if height % 2 == width % 2 == 0 and len(users) == 1 and _gains(users[0]):
        block = 2
        _stack(graph, users[0])
    down, across = height // block, width // block
    text = STEM.format(
        ir=IR_VERSION, opset=OPSET, image=INPUT, out=out, height=height, width=width,
        block=block, gather=GATHER[block], down=down, across=across, piece=3 * block,
        depth=3 * block**2, row=across * 3 * block**2,
    )  # fmt: skip
    stem = parser.parse_model(text).graph
    pixels = across * block**2
    for name, values in (("stem/mean", mean), ("stem/std", std)):
        stem.initializer.append(numpy_helper.from_array(np.tile(values, pixels), name))
    for tensor in list(graph.initializer):
        if tensor.name in (subtract.input[1], divide.input[1]):
            graph.initializer.remove(tensor)
    graph.initializer.extend(stem.initializer)
    del graph.node[:], graph.value_info[:]
    graph.node.extend((*stem.node, *body))
    return model


def _gains(node: onnx.NodeProto) -> bool:
    """Tells whether a node is a plain convolution of stride 2 with a large kernel."""
    if node.op_type != "Conv":
        return False
    told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    sizes = told.get("kernel_shape", [0])
    return (
        len(set(sizes)) == len(set(told.get("pads", [0]))) == 1
        and sizes[0] >= LEAST_KERNEL
        and list(told.get("strides", [])) == [2, 2]
        and set(told.get("dilations", [1])) == {1}
        and told.get("group", 1) == 1
        and told.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def _stack(graph: onnx.GraphProto, conv: onnx.NodeProto) -> None:
    """Turns a convolution of pixels into one of blocks of 2x2, with their channels stacked.

    An output at o has the taps 2o - pad .. 2o - pad + size - 1. The blocks that hold them begin at
    o - ceil(pad / 2); taps that a block has besides weigh nothing.
    """
    told = {one.name: helper.get_attribute_value(one) for one in conv.attribute}
    size, pad = told["kernel_shape"][0], told["pads"][0] if "pads" in told else 0
    weights = _values(graph, conv.input[1])
    outputs, channels = weights.shape[:2]
    lead = pad % 2
    blocks = (lead + size + 1) // 2
    wide = np.zeros((outputs, channels, 2 * blocks, 2 * blocks), weights.dtype)
    wide[:, :, lead : lead + size, lead : lead + size] = weights
    split = wide.reshape(outputs, channels, blocks, 2, blocks, 2)
    stacked = split.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, 4 * channels, blocks, blocks)
    for tensor in graph.initializer:
        if tensor.name == conv.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(stacked), tensor.name))
    before = (pad + 1) // 2
    # For as many outputs as before: (side of the photo + 2 pad - size) // 2 + 1 of them.
    after = blocks - before + (2 * pad - size) // 2
    del conv.attribute[:]
    conv.attribute.extend(
        helper.make_attribute(name, value)
        for name, value in (
            ("kernel_shape", [blocks, blocks]),
            ("strides", [1, 1]),
            ("pads", [before, before, after, after]),
        )
    )


def _values(graph: onnx.GraphProto, name: str) -> NDArray[np.float32]:
    """Returns a constant."""
    found = next(tensor for tensor in graph.initializer if tensor.name == name)
    values: NDArray[np.float32] = numpy_helper.to_array(found)
    return values
