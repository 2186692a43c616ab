"""The fitted estimator as an ONNX graph, through skl2onnx."""

import warnings
from typing import Any

import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from boats_export.network import FEATURES
from boats_export.opset import IR_VERSION, ML_OPSET, OPSET


def export_head(estimator: Any, features: int) -> onnx.ModelProto:
    """Converts a fitted classifier.

    Args:
        estimator: A scikit-learn classifier on class indices, with `predict_proba`.
        features: D, the length of its feature vectors.

    Returns:
        A model from `features (N, D) float32` to `probabilities (N, K) float32` and `label (N,)
        int64`.
    """
    with warnings.catch_warnings():
        # skl2onnx reads probA_, which scikit-learn 1.9 warns of and 1.11 drops.
        warnings.simplefilter("ignore", FutureWarning)
        model: onnx.ModelProto = to_onnx(
            estimator,
            initial_types=[(FEATURES, FloatTensorType([None, features]))],
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            options={id(estimator): {"zipmap": False}},
        )
    model.ir_version = IR_VERSION
    return model
