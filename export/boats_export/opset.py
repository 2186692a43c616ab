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
    model.ir_version = IR_VERSION
    return model
