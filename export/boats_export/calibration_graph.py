"""Scores to probabilities: calibration as standard operators."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from boats_export.nodes import Nodes, declare_classifier, declare_step
from boats_train.models.calibrated_svc import CalibratedSVC

SATURATED = (-36.7368, 709.78)
"""Below and above, 1 / (1 + exp(z)) is 1 and 0 in float64 (`scipy.special.expit`)."""


def calibrated_estimator(model: CalibratedClassifierCV | CalibratedSVC) -> Any:
    """Returns what a calibration takes its scores from.

    Raises:
        ValueError: There are several: it is an ensemble.
    """
    if isinstance(model, CalibratedSVC):
        return model.pipeline
    if len(model.calibrated_classifiers_) != 1:
        raise ValueError("CalibratedClassifierCV with ensemble=True: only False has a graph")
    return model.calibrated_classifiers_[0].estimator


def parse_calibrated(
    scope: Any,
    model: CalibratedClassifierCV | CalibratedSVC,
    inputs: list[Any],
    custom_parsers: Any = None,
) -> list[Any]:
    """Declares the steps of the calibrated estimator, then what makes its scores probabilities.

    Raises:
        ValueError: The estimator is not an SVC, alone or last in a pipeline.
    """
    estimator = calibrated_estimator(model)
    steps = (
        [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    )
    if not isinstance(steps[-1], SVC):
        kind = type(steps[-1]).__name__
        raise ValueError(f"{type(model).__name__} of {kind}: only one of SVC has a graph")
    for step in steps:
        inputs = declare_step(scope, step, inputs)
    return declare_classifier(scope, model, inputs, custom_parsers)


def convert_sigmoids(scope: Any, operator: Any, container: Any) -> None:
    """Writes a `CalibratedClassifierCV`: p = 1 / (1 + exp(a s + b)) of each score (Platt 1999).

    With several classes, the p are divided by their sum (Zadrozny and Elkan 2002), or are all equal
    if every one is zero: `_CalibratedClassifier.predict_proba` in sklearn/calibration.py. That is
    the softmax of log p = -log(1 + exp(a s + b)), in which float32 loses no small p.

    The label is of the highest p. It is read from a s + b, which still tells apart what float32
    rounds to the same p, and bounded to be equal where float64 has the same p too.

    Raises:
        ValueError: It is not calibrated by sigmoids.
    """
    model: CalibratedClassifierCV = operator.raw_operator
    if model.method != "sigmoid":
        raise ValueError(f"CalibratedClassifierCV by {model.method!r}: only 'sigmoid' has a graph")
    calibrators = model.calibrated_classifiers_[0].calibrators
    slopes = np.array([calibrator.a_ for calibrator in calibrators])
    offsets = np.array([calibrator.b_ for calibrator in calibrators])
    nodes = Nodes(scope, container)
    scores = operator.inputs[0].full_name
    label, probabilities = (variable.full_name for variable in operator.outputs)
    if len(model.classes_) == 2:
        logits = add_binary_logits(nodes, scores, -slopes[0], -offsets[0])
        nodes.add_label("ArgMax", logits, model.classes_, label)
    else:
        bounds = (nodes.constant("bound", bound) for bound in SATURATED)
        exponents = nodes.add("Clip", add_line(nodes, scores, slopes, offsets), *bounds)
        logits = nodes.add("Neg", nodes.add("Softplus", exponents))
        nodes.add_label("ArgMin", exponents, model.classes_, label)
    nodes.add("Softmax", logits, axis=1, output=probabilities)


def convert_softmax(scope: Any, operator: Any, container: Any) -> None:
    """Writes a `CalibratedSVC`: the softmax of slope * score + offset."""
    model: CalibratedSVC = operator.raw_operator
    nodes = Nodes(scope, container)
    scores = operator.inputs[0].full_name
    label, probabilities = (variable.full_name for variable in operator.outputs)
    if len(model.classes_) == 2:
        logits = add_binary_logits(nodes, scores, model.slope_, model.offsets_[0])
    else:
        logits = add_line(nodes, scores, model.slope_, model.offsets_)
    nodes.add_label("ArgMax", logits, model.classes_, label)
    nodes.add("Softmax", logits, axis=1, output=probabilities)


def add_line(nodes: Nodes, scores: str, slopes: ArrayLike, offsets: ArrayLike) -> str:
    """Adds slope * score + offset, each class with its own or all with the same: `(N, K)`."""
    scaled = nodes.add("Mul", scores, nodes.constant("slopes", slopes))
    return nodes.add("Add", scaled, nodes.constant("offsets", offsets))


def add_binary_logits(nodes: Nodes, scores: str, slope: float, offset: float) -> str:
    """Adds z = slope * score + offset of the second class beside a zero for the first.

    Their softmax is 1 - p and p for p = 1 / (1 + exp(-z)).

    Args:
        nodes: Of the graph.
        scores: `(N, 1) float32`.
        slope: Of the line.
        offset: Of the line.

    Returns:
        `(N, 2) float32`.
    """
    slopes = nodes.constant("slopes", [[0, slope]])
    return nodes.add("Gemm", scores, slopes, nodes.constant("offsets", [0, offset]))
