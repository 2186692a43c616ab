"""Write the tiny network that boats-doctor runs on each provider.

    python scripts/make_doctor_model.py [FILE]

It has the operators of the models of boats (cast, convolution, pooling, product, softmax), so that
it also fails if a library that only one of them loads, like cuDNN, is missing.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DEFAULT_PATH = Path(__file__).parents[1] / "runtime" / "boats_runtime" / "doctor.onnx"


def make_model() -> onnx.ModelProto:
    """Return the network with input `(N, 32, 32, 3) uint8` and output `(N, 4) float32`."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.01, (8, 3, 3, 3)).astype(np.float32)
    weights = rng.normal(0, 1, (8, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "doctor",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PATH
    path.write_bytes(make_model().SerializeToString(deterministic=True))
