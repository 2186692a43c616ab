"""ONNX graph of the fitted classifier, through skl2onnx with the project's own converters."""

from functools import partial
from typing import Any

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from boats_export.graph_builder import (
    declare_classifier,
    declare_step,
    set_classifier_shapes,
    set_step_shape,
)
from boats_export.opset import OPSET, set_versions
from boats_export.step_graphs import (
    convert_calibration,
    convert_logistic_regression,
    convert_normalizer,
    convert_scaler,
)
from boats_export.svm_graph import convert_svc, set_svc_shape
from boats_runtime.model_session import FEATURES
from boats_train.models.calibrated_svc import CalibratedSVC

BATCH = "batch"
"""Name of the dynamic batch dimension."""


def parse_calibrated_svc(
    scope: Any,
    model: CalibratedSVC,
    inputs: list[Any],
    custom_parsers: Any = None,  # noqa: ARG001
) -> list[Any]:
    """Declare the steps of the pipeline and the calibration to skl2onnx."""
    for _, step in model.pipeline.steps:
        inputs = declare_step(scope, step, inputs)
    return declare_classifier(scope, model, inputs)


PARSERS = {CalibratedSVC: parse_calibrated_svc, LogisticRegression: declare_classifier}
SHAPES = {
    CalibratedSVC: set_classifier_shapes,
    LogisticRegression: set_classifier_shapes,
    Normalizer: set_step_shape,
    StandardScaler: set_step_shape,
    SVC: set_svc_shape,
}
CONVERTERS = {
    CalibratedSVC: convert_calibration,
    LogisticRegression: convert_logistic_regression,
    Normalizer: convert_normalizer,
    StandardScaler: convert_scaler,
}


def export_classifier(estimator: Any, width: int, *, fp16: bool = False) -> onnx.ModelProto:
    """Convert a fitted classifier.

    Args:
        estimator: `CalibratedSVC` of an RBF `SVC` after any `Normalizer` and `StandardScaler`, or
            a `LogisticRegression`, on the classes 0 to K-1.
        width: Number of features D.
        fp16: Whether the support vectors are stored in float16.

    Returns:
        Model of standard operators in float32, from `features` (N, D) float32 to `probabilities`
        (N, K) float32 and `label` (N,) int64: the class of the highest probability, the first of
        equal ones.

    Raises:
        ValueError: If the estimator or one of its settings is not supported.
    """
    if type(estimator) not in PARSERS:
        raise ValueError(f"{type(estimator).__name__}: not a classifier of boats-train")
    if not np.array_equal(estimator.classes_, np.arange(len(estimator.classes_))):
        raise ValueError(f"classes {estimator.classes_}: must be 0 to K-1")
    # The converters are passed to this call only, so the registry of skl2onnx stays unchanged.
    model: onnx.ModelProto = convert_sklearn(
        estimator,
        name="classifier",
        initial_types=[(FEATURES, FloatTensorType([None, width]))],
        target_opset={"": OPSET},
        custom_parsers=PARSERS,
        custom_shape_calculators=SHAPES,
        custom_conversion_functions=CONVERTERS | {SVC: partial(convert_svc, fp16=fp16)},
    )
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = BATCH
    return set_versions(model)
