"""The fitted estimator as an ONNX graph, through skl2onnx with converters of the project's own."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from boats_export.calibration_graph import (
    calibrated_estimator,
    convert_sigmoids,
    convert_softmax,
    parse_calibrated,
)
from boats_export.linear_graph import convert_logistic
from boats_export.nodes import declare_classifier, set_classifier_shapes, set_step_shape
from boats_export.opset import OPSET, stamp
from boats_export.scaler_graph import convert_normalizer, convert_scaler
from boats_export.svm_graph import convert_svc, parse_svc, set_svc_shapes
from boats_runtime.classifier import FEATURES
from boats_train.models.calibrated_svc import CalibratedSVC

BATCH = "batch"

PARSERS = {
    CalibratedClassifierCV: parse_calibrated,
    CalibratedSVC: parse_calibrated,
    LogisticRegression: declare_classifier,
    SVC: parse_svc,
}
SHAPES = {
    CalibratedClassifierCV: set_classifier_shapes,
    CalibratedSVC: set_classifier_shapes,
    LogisticRegression: set_classifier_shapes,
    Normalizer: set_step_shape,
    StandardScaler: set_step_shape,
    SVC: set_svc_shapes,
}
CONVERTERS = {
    CalibratedClassifierCV: convert_sigmoids,
    CalibratedSVC: convert_softmax,
    LogisticRegression: convert_logistic,
    Normalizer: convert_normalizer,
    StandardScaler: convert_scaler,
}


def export_classifier(estimator: Any, features: int, half: bool = False) -> onnx.ModelProto:
    """Converts a fitted classifier.

    Args:
        estimator: An `SVC`, a calibrated one (`CalibratedSVC` or `CalibratedClassifierCV`), or a
            `LogisticRegression`, after any `Normalizer` and `StandardScaler`, on integer classes.
            An `SVC` that is not calibrated gives its scores for probabilities.
        features: D, the length of its feature vectors.
        half: Whether support vectors are stored in float16.

    Returns:
        A model of standard operators in float32, from `features (N, D) float32` to `probabilities
        (N, K) float32` and `label (N,) int64`: the class of the highest probability, the first of
        equal ones.

    Raises:
        ValueError: It is another estimator, or one with a setting that has no graph.
    """
    unknown = {type(part).__name__ for part in _parts(estimator) if type(part) not in SHAPES}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: has no graph of standard operators")
    if not np.issubdtype(estimator.classes_.dtype, np.integer):
        raise ValueError(f"classes of {estimator.classes_.dtype}: only integers have a graph")
    # Handed over for this call only: to the rest of the process skl2onnx stays what it was.
    model: onnx.ModelProto = convert_sklearn(
        estimator,
        name="head",
        initial_types=[(FEATURES, FloatTensorType([None, features]))],
        target_opset={"": OPSET},
        custom_parsers=PARSERS,
        custom_shape_calculators=SHAPES,
        custom_conversion_functions=CONVERTERS | {SVC: partial(convert_svc, half=half)},
    )
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = BATCH
    return stamp(model)


def _parts(estimator: Any) -> Iterator[Any]:
    """Yields what a classifier is made of."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from _parts(step)
        return
    yield estimator
    if isinstance(estimator, CalibratedClassifierCV | CalibratedSVC):
        yield from _parts(calibrated_estimator(estimator))
