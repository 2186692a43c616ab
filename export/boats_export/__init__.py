"""Export of boats: a run folder in, one verified ONNX file out."""

import boats_runtime  # noqa: F401  # turns off the telemetry before ONNX Runtime is imported
