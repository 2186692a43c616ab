"""A synthetic SVM, calibrated by boats and by scikit-learn, and its conversion by skl2onnx."""

import warnings
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from boats_export.opset import IR_VERSION, OPSET
from boats_runtime.model_session import FEATURES
from boats_train.models.calibrated_svc import CalibratedSVC

CLASSES = 16
SUPPORT_VECTORS = 1600


def fit_calibrated_svms(width: int) -> tuple[CalibratedSVC, CalibratedClassifierCV]:
    """Fit an SVM to synthetic features and calibrate it by boats and by scikit-learn.

    Both results contain the same SVC with `SUPPORT_VECTORS` support vectors.

    Args:
        width: Number of features D.
    """
    rng = np.random.default_rng(0)
    targets = np.arange(SUPPORT_VECTORS) % CLASSES
    # Like pooled activations, none is negative. Classes overlap, so every row is a support vector.
    centers = rng.normal(0, 0.05, (CLASSES, width))
    features = centers[targets] + rng.normal(0, 1, (SUPPORT_VECTORS, width))
    features = np.maximum(features, 0).astype(np.float32)
    all_rows = np.arange(SUPPORT_VECTORS)
    stock = CalibratedClassifierCV(
        SVC(break_ties=True, cache_size=1000), ensemble=False, cv=[(all_rows, all_rows)]
    ).fit(features, targets)
    svc = stock.calibrated_classifiers_[0].estimator
    if len(svc.support_vectors_) != SUPPORT_VECTORS:
        raise AssertionError(f"{len(svc.support_vectors_)} support vectors, not {SUPPORT_VECTORS}")
    calibrated = CalibratedSVC(make_pipeline(svc))
    return calibrated.fit(svc.decision_function(features), targets), stock


def convert_by_skl2onnx(estimator: Any, width: int) -> onnx.ModelProto:
    """Convert an estimator with skl2onnx's own converters, to the opset of boats.

    Args:
        estimator: Fitted estimator of scikit-learn.
        width: Number of features D.
    """
    with warnings.catch_warnings():
        # skl2onnx reads probA_, which scikit-learn 1.9 deprecates and 1.11 removes.
        warnings.simplefilter("ignore", FutureWarning)
        model: onnx.ModelProto = to_onnx(
            estimator,
            initial_types=[(FEATURES, FloatTensorType([None, width]))],
            target_opset={"": OPSET, "ai.onnx.ml": 3},
            options={id(estimator): {"zipmap": False}},
        )
    model.ir_version = IR_VERSION
    return model


def make_features(batch: int, width: int) -> NDArray[np.float32]:
    """Return random features (batch, width) float32, like pooled activations."""
    features = np.random.default_rng(1).normal(0, 1, (batch, width))
    return np.maximum(features, 0).astype(np.float32)
