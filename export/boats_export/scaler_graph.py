"""The steps before a classifier as standard operators: `Normalizer` and `StandardScaler`."""

from typing import Any

import numpy as np
from sklearn.preprocessing import Normalizer, StandardScaler

from boats_export.nodes import Nodes


def convert_scaler(scope: Any, operator: Any, container: Any) -> None:
    """Writes a `StandardScaler`: (x - mean) / scale, either of them optional.

    The steps and their constants are those that scikit-learn takes on float32 features.
    """
    scaler: StandardScaler = operator.raw_operator
    nodes = Nodes(scope, container)
    features = operator.inputs[0].full_name
    if scaler.with_mean:
        features = nodes.add("Sub", features, nodes.constant("mean", scaler.mean_))
    if scaler.with_std:
        features = nodes.add("Div", features, nodes.constant("scale", scaler.scale_))
    # skl2onnx takes it out again.
    nodes.add("Identity", features, output=operator.outputs[0].full_name)


def convert_normalizer(scope: Any, operator: Any, container: Any) -> None:
    """Writes a `Normalizer("l2")`: x / |x|.

    As with scikit-learn on float32 features, a row shorter than ten times float32's precision is
    left as it is (`_handle_zeros_in_scale` in sklearn/preprocessing/_data.py).

    Raises:
        ValueError: It is of another norm.
    """
    normalizer: Normalizer = operator.raw_operator
    if normalizer.norm != "l2":
        raise ValueError(f"Normalizer with norm {normalizer.norm!r}: only 'l2' has a graph")
    nodes = Nodes(scope, container)
    features = operator.inputs[0].full_name
    axes = nodes.constant("axes", [1], np.int64)
    length = nodes.add("ReduceL2", features, axes, keepdims=1)
    shortest = nodes.constant("shortest", 10 * np.finfo(np.float32).eps)
    short = nodes.add("Less", length, shortest)
    divisor = nodes.add("Where", short, nodes.constant("one", 1), length)
    nodes.add("Div", features, divisor, output=operator.outputs[0].full_name)
