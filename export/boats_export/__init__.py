"""Export of boats: a run folder in, one verified ONNX file out."""
