"""Fitted classifiers, and the comparison of their ONNX graphs with scikit-learn."""

from itertools import cycle
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from boats_export.classifier_graph import export_classifier
from boats_export.verify import run_classifier_graph
from boats_train.models.calibrated_svc import CalibratedSVC

Array = NDArray[Any]

WIDTH = 24
"""Number of features."""

TOLERANCE = 1e-5
"""Largest difference of a probability to float64. Most are below 1e-6."""


def make_features(
    classes: int, count: int, seed: int = 0, width: int = WIDTH
) -> tuple[Array, Array]:
    """Return (count, width) float32 features like pooled activations, and their classes.

    The classes overlap, and the last of them is rare.
    """
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(0, 0.6, (classes, width))
    common = np.arange(count) % max(classes - 1, 2)
    targets = np.where(np.arange(count) % 29 == 0, classes - 1, common)
    features = np.maximum(centers[targets] + rng.normal(0, 1, (count, width)), 0)
    return features.astype(np.float32), targets


def fit_calibrated_svc(
    features: Array, targets: Array, *scalers: Any, **settings: Any
) -> CalibratedSVC:
    """Fit an SVC and its calibration on the same features.

    Args:
        features: (N, D) float32.
        targets: (N,) int64, class indices.
        scalers: Steps before the SVC.
        settings: Arguments of the SVC.
    """
    pipeline = make_pipeline(*scalers, SVC(break_ties=True, **settings)).fit(features, targets)
    estimator = CalibratedSVC(pipeline).fit(pipeline.decision_function(features), targets)
    estimator.offsets_ += np.linspace(0.5, 1.0, len(estimator.offsets_))
    return estimator


def run_graph(model: onnx.ModelProto, features: Array) -> tuple[Array, Array]:
    """Run a classifier's graph in batches of 1, 2 and 7 in turn: probabilities and labels."""
    results = []
    sizes = cycle((1, 2, 7))
    start = 0
    while start < len(features):
        batch = features[start : (start := start + next(sizes))]
        results.append(run_classifier_graph(model, batch, ()))
    return (
        np.concatenate([result.probabilities for result in results]),
        np.concatenate([result.labels for result in results]),
    )


def assert_parity(
    estimator: Any, features: Array, tolerance: float = TOLERANCE, *, fp16: bool = False
) -> Array:
    """Compare probabilities and labels of a graph with scikit-learn in float64.

    Returns:
        The probabilities of the graph.
    """
    model = export_classifier(estimator, features.shape[1], fp16=fp16)
    probabilities, labels = run_graph(model, features)
    exact = features.astype(np.float64)
    expected = estimator.predict_proba(exact)
    assert (probabilities.dtype, labels.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(labels, estimator.predict(exact))
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))
    return probabilities
