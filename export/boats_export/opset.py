"""The versions every exported file is stamped with.

ONNX Runtime 1.24 and newer open them all; newer opsets and IR 14, the default of the onnx package,
it may refuse.
"""

OPSET = 18
IR_VERSION = 10
