"""Converters of everything in a classifier but the SVM: scalers, calibration, linear classifier."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import Normalizer, StandardScaler

from boats_export.graph_builder import GraphBuilder
from boats_train.models.calibrated_svc import CalibratedSVC


def convert_scaler(scope: Any, operator: Any, container: Any) -> None:
    """Write a `StandardScaler`: (x - mean) / scale.

    The operations and constants are those of scikit-learn on float32 features.

    Raises:
        ValueError: If the scaler leaves the mean or the scale out.
    """
    scaler: StandardScaler = operator.raw_operator
    if not (scaler.with_mean and scaler.with_std):
        raise ValueError(f"{scaler}: only with mean and scale")
    builder = GraphBuilder(scope, container)
    mean = builder.add_constant("mean", scaler.mean_)
    centered = builder.add_node("Sub", operator.inputs[0].full_name, mean)
    scale = builder.add_constant("scale", scaler.scale_)
    builder.add_node("Div", centered, scale, output=operator.outputs[0].full_name)


def convert_normalizer(scope: Any, operator: Any, container: Any) -> None:
    """Write a `Normalizer("l2")`: x / |x|.

    As in scikit-learn on float32 features, a row shorter than ten times the precision of float32
    stays unchanged (`_handle_zeros_in_scale` in sklearn/preprocessing/_data.py).

    Raises:
        ValueError: If the norm is not l2.
    """
    normalizer: Normalizer = operator.raw_operator
    if normalizer.norm != "l2":
        raise ValueError(f"{normalizer}: only norm='l2'")
    builder = GraphBuilder(scope, container)
    features = operator.inputs[0].full_name
    axes = builder.add_constant("axes", [1], np.int64)
    length = builder.add_node("ReduceL2", features, axes, keepdims=1)
    shortest = builder.add_constant("shortest", 10 * np.finfo(np.float32).eps)
    is_short = builder.add_node("Less", length, shortest)
    divisor = builder.add_node("Where", is_short, builder.add_constant("one", 1), length)
    builder.add_node("Div", features, divisor, output=operator.outputs[0].full_name)


def convert_calibration(scope: Any, operator: Any, container: Any) -> None:
    """Write the calibration of a `CalibratedSVC`: the softmax of slope * score + offset.

    For two classes, the only score belongs to the second class, and the logit of the first is 0:
    the softmax of 0 and z is 1 - p and p for p = 1 / (1 + exp(-z)).
    """
    model: CalibratedSVC = operator.raw_operator
    builder = GraphBuilder(scope, container)
    slopes, offsets = np.array(model.slope_), model.offsets_
    if len(model.classes_) == 2:
        slopes, offsets = np.append(0, slopes), np.append(0, offsets)
    scaled = builder.add_node(
        "Mul", operator.inputs[0].full_name, builder.add_constant("slopes", slopes)
    )
    logits = builder.add_node("Add", scaled, builder.add_constant("offsets", offsets))
    _add_outputs(builder, logits, operator)


def convert_logistic_regression(scope: Any, operator: Any, container: Any) -> None:
    """Write a multinomial `LogisticRegression`: the softmax of W x + b.

    For two classes, scikit-learn keeps only the row of the second class.
    """
    model: LogisticRegression = operator.raw_operator
    builder = GraphBuilder(scope, container)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.append(0, intercept)
    logits = builder.add_node(
        "Gemm",
        operator.inputs[0].full_name,
        builder.add_constant("coefficients", coefficients),
        builder.add_constant("intercept", intercept),
        transB=1,
    )
    _add_outputs(builder, logits, operator)


def _add_outputs(builder: GraphBuilder, logits: str, operator: Any) -> None:
    """Add the softmax, and the label: the class of the highest logit, the first of equal ones."""
    label, probabilities = (variable.full_name for variable in operator.outputs)
    builder.add_node("Softmax", logits, axis=1, output=probabilities)
    builder.add_node("ArgMax", logits, axis=1, keepdims=0, output=label)
