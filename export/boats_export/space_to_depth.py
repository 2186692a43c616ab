"""First layers of a network, rearranged for the 8-bit kernels of ONNX Runtime: same sums, faster.

Those kernels expect the channels last, so ONNX Runtime normalizes pixels in that layout, three
values at a time; whole rows are several times faster. And a convolution of three channels gathers
its input in many short pieces. One of stride 2 becomes one of stride 1 on blocks of 2x2 pixels with
stacked channels, which gathers fewer and longer pieces. The rearrangement is exact, see "Use
Space-to-depth transformation where possible" in Qualcomm's network design guidelines for QNN.
`benchmarks/precisions.py` measures the gain.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

from boats_export.opset import IR_VERSION, OPSET
from boats_runtime.model_session import INPUT

MIN_KERNEL_SIZE = 5
"""Smallest kernel that is rearranged: for smaller ones, stacking costs what it saves."""

STEM = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
stem (uint8[batch, {height}, {width}, 3] {image})
    => (float[batch, {channels}, {rows}, {columns}] {output})
<
    int64[5] "stem/pairs" = {{-1, {rows}, {block}, {columns}, {piece}}},
    int64[3] "stem/rows" = {{-1, {rows}, {row_size}}},
    int64[4] "stem/layers" = {{-1, {rows}, {columns}, {channels}}}
>
{{
    "stem/in pairs" = Reshape({image}, "stem/pairs")
    {gather}
    "stem/in rows" = Reshape("stem/gathered", "stem/rows")
    "stem/levels" = Cast<to = 1>("stem/in rows")
    "stem/centered" = Sub("stem/levels", "stem/mean")
    "stem/scaled" = Div("stem/centered", "stem/std")
    "stem/in layers" = Reshape("stem/scaled", "stem/layers")
    "{output}" = Transpose<perm = [0, 3, 1, 2]>("stem/in layers")
}}
"""
"""Normalization of pixels, one row of blocks at a time; mean and std have the length of a row."""

GATHER = {
    1: '"stem/gathered" = Identity("stem/in pairs")',
    # A transpose of such short pieces is slower.
    2: """
    "stem/upper", "stem/lower" = Split<axis = 2, num_outputs = 2>("stem/in pairs")
    "stem/gathered" = Concat<axis = 4>("stem/upper", "stem/lower")
    """,
}
"""Nodes that gather the pixels of a block, by the size of the block."""


def apply_space_to_depth(network: onnx.ModelProto) -> onnx.ModelProto:
    """Rearrange the normalization, and the first convolution if it is a large one of stride 2.

    Args:
        network: Model from `export_network`; not changed.

    Returns:
        Network with the same input and features; only the order of sums differs.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph = model.graph
    # The network begins with a transpose, a cast, a subtraction and a division.
    (*_, subtract, divide), body = graph.node[:4], graph.node[4:]
    mean, std = (_read_constant(graph, node.input[1]).reshape(3) for node in (subtract, divide))
    height, width = (size.dim_value for size in graph.input[0].type.tensor_type.shape.dim[1:3])
    output = divide.output[0]
    users = [node for node in body if output in node.input]
    block = 1
    if height % 2 == width % 2 == 0 and len(users) == 1 and _is_large_convolution(users[0]):
        block = 2
        _stack_blocks(graph, users[0])
    rows, columns, channels = height // block, width // block, 3 * block**2
    text = STEM.format(
        ir=IR_VERSION, opset=OPSET, image=INPUT, output=output, height=height, width=width,
        block=block, gather=GATHER[block], rows=rows, columns=columns, piece=3 * block,
        channels=channels, row_size=columns * channels,
    )  # fmt: skip
    stem = parser.parse_model(text).graph
    for name, values in (("stem/mean", mean), ("stem/std", std)):
        row = np.tile(values, columns * block**2)
        stem.initializer.append(numpy_helper.from_array(row, name))
    for tensor in list(graph.initializer):
        if tensor.name in (subtract.input[1], divide.input[1]):
            graph.initializer.remove(tensor)
    graph.initializer.extend(stem.initializer)
    del graph.node[:], graph.value_info[:]
    graph.node.extend((*stem.node, *body))
    return model


def _is_large_convolution(node: onnx.NodeProto) -> bool:
    """Return whether a node is a plain convolution of stride 2 with a large square kernel."""
    if node.op_type != "Conv":
        return False
    attributes = _read_attributes(node)
    sizes = attributes.get("kernel_shape", [0])
    return (
        len(set(sizes)) == len(set(attributes.get("pads", [0]))) == 1
        and sizes[0] >= MIN_KERNEL_SIZE
        and list(attributes.get("strides", [])) == [2, 2]
        and set(attributes.get("dilations", [1])) == {1}
        and attributes.get("group", 1) == 1
        and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def _stack_blocks(graph: onnx.GraphProto, conv: onnx.NodeProto) -> None:
    """Turn a convolution of pixels into one of blocks of 2x2 pixels with stacked channels.

    The output at position o reads the pixels 2o - pad to 2o - pad + size - 1. The blocks with those
    pixels begin at o - ceil(pad / 2); the other pixels in the blocks get the weight 0.
    """
    attributes = _read_attributes(conv)
    size, pad = attributes["kernel_shape"][0], attributes.get("pads", [0])[0]
    weights = _read_constant(graph, conv.input[1])
    outputs, channels = weights.shape[:2]
    lead = pad % 2
    blocks = (lead + size + 1) // 2
    padded = np.zeros((outputs, channels, 2 * blocks, 2 * blocks), weights.dtype)
    padded[:, :, lead : lead + size, lead : lead + size] = weights
    split = padded.reshape(outputs, channels, blocks, 2, blocks, 2)
    stacked = split.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, 4 * channels, blocks, blocks)
    for tensor in graph.initializer:
        if tensor.name == conv.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(stacked), tensor.name))
    before = (pad + 1) // 2
    # Keeps the number of outputs: (side of the image + 2 pad - size) // 2 + 1.
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


def _read_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _read_constant(graph: onnx.GraphProto, name: str) -> NDArray[np.float32]:
    values: NDArray[np.float32] = numpy_helper.to_array(
        next(tensor for tensor in graph.initializer if tensor.name == name)
    )
    return values
