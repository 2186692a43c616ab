"""The versions every exported file is stamped with.

ONNX Runtime 1.24 and newer open them all; newer opsets and IR 14, the default of the onnx package,
it may refuse.
"""

import onnx
from onnx import version_converter

OPSETS = (18, 19, 20)
OPSET = OPSETS[0]
"""Everything is made in this one."""

IR_VERSION = 10


def convert_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Returns the model in one of `OPSETS`."""
    if opset != OPSET:
        model = version_converter.convert_version(model, opset)
    return stamp(model, opset)


def stamp(model: onnx.ModelProto, opset: int = OPSET) -> onnx.ModelProto:
    """Stamps the versions on a model, in place; tools leave more of them, and older ones.

    Raises:
        ValueError: A node is not of the standard operators.
    """
    others = {node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    if others:
        raise ValueError(f"{', '.join(sorted(others))}: no standard operators")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", opset))
    model.ir_version = IR_VERSION
    return model
