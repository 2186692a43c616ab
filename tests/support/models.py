"""Small exported models for the tests."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing

COLOR_LABELS = ("<script>", "green & co", "red")
"""Labels of a color model for blue, green and red."""


def save_color_model(
    path: Path,
    labels: tuple[str, ...] = COLOR_LABELS,
    bias: tuple[float, ...] = (0, 0, 0),
    reduce: str = "ReduceMean",
    threshold: float | None = 0.5,
    size: tuple[int, int] = (12, 40),
    batch_size: int | None = None,
) -> Path:
    """Write a model that predicts the strongest color channel of an image.

    Args:
        path: File to write.
        labels: The three labels of `COLOR_LABELS` in any order.
        bias: Values added to the scores of the labels before the softmax.
        reduce: Operator that reduces the pixels to one color.
        threshold: Threshold in the metadata.
        size: Height and width of the input in pixels.
        batch_size: Fixed batch size; None for a dynamic one.

    Returns:
        The path.
    """
    # The channels are red, green and blue; the labels are in the reverse order.
    weights = np.zeros((3, 3), np.float32)
    weights[[0, 1, 2], [labels.index(name) for name in reversed(COLOR_LABELS)]] = 0.02
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node(reduce, ["pixels", "axes"], ["color"], keepdims=0),
        helper.make_node("Gemm", ["color", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    batch = batch_size or "batch"
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *size, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("label", TensorProto.INT64, [batch]),
        ],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("weights", TensorProto.FLOAT, [3, 3], weights.ravel()),
            helper.make_tensor("bias", TensorProto.FLOAT, [3], bias),
        ],
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    metadata = ModelMetadata(labels, Preprocessing(*size), threshold)
    helper.set_model_props(model, metadata.to_properties())
    onnx.checker.check_model(model)
    path.write_bytes(write_digest(model.SerializeToString()))
    return path
