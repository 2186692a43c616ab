"""Opset and IR version of the exported files.

ONNX Runtime 1.24 and newer open all of them. It may refuse newer opsets and IR 14, the default of
the onnx package.
"""

import onnx
from onnx import version_converter

OPSETS = (18, 19, 20)
OPSET = OPSETS[0]
"""Opset in which graphs are built."""

IR_VERSION = 10


def convert_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return the model converted to one of `OPSETS`."""
    if opset != OPSET:
        model = version_converter.convert_version(model, opset)
    return set_versions(model, opset)


def set_versions(model: onnx.ModelProto, opset: int = OPSET) -> onnx.ModelProto:
    """Set the opset and the IR version of a model in place, and return the model.

    Conversion tools declare further opsets and other IR versions.

    Raises:
        ValueError: If the model contains an operator outside the standard domain.
    """
    others = {node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    if others:
        raise ValueError(f"not standard ONNX operators: {', '.join(sorted(others))}")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", opset))
    model.ir_version = IR_VERSION
    return model
