"""SVM with calibrated probabilities."""

from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin

OFFSET_PENALTY = 0.01
"""Weight of the squared offsets in the loss; it preserves the rank of rare classes."""


class CalibratedSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """SVM whose scores are calibrated by Platt scaling, extended to several classes.

    The probabilities are `softmax(slope * score_k + offset_k)` of the one-vs-rest scores, for two
    classes `sigmoid(slope * score + offset)` (Platt 1999). The method of scikit-learn, one sigmoid
    per class, fitted separately and normalized (Zadrozny and Elkan 2002), lowers the rank of rare
    classes.

    Args:
        pipeline: Pipeline fitted on class indices 0 to K-1; the last step is an SVC with
            one-vs-rest scores and `break_ties=True`.

    Attributes:
        classes_: (K,) int64, class indices.
        slope_: Slope, above 0.
        offsets_: (K,) float64, or (1,) for two classes.
    """

    def __init__(self, pipeline: Any = None) -> None:
        self.pipeline = pipeline

    def fit(self, decisions: NDArray[np.float64], targets: NDArray[np.int64]) -> Self:
        """Fit the calibration by minimizing the log loss; the pipeline is not changed.

        Args:
            decisions: Scores of held-out images, (N, K) float64, or (N,) for two classes.
            targets: (N,) int64, class indices.
        """
        self.classes_ = np.asarray(self.pipeline.classes_, dtype=np.int64)
        offsets = 1 if decisions.ndim == 1 else decisions.shape[1]

        def loss(parameters: NDArray[np.float64]) -> float:
            logits = _logits(decisions, np.exp(parameters[0]), parameters[1:])
            likelihoods = log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
            return float(-likelihoods.mean() + OFFSET_PENALTY * np.sum(parameters[1:] ** 2))

        fitted = minimize(loss, np.zeros(1 + offsets), method="L-BFGS-B").x
        self.slope_ = float(np.exp(fitted[0]))
        self.offsets_ = np.asarray(fitted[1:], dtype=np.float64)
        return self

    def with_pipeline(self, pipeline: Any) -> Self:
        """Return another fitted pipeline, of the same classes, with this calibration."""
        other = copy(self)
        other.pipeline = pipeline
        return other

    def decision_function(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores of the SVM, (N, K) float64, or (N,) for two classes."""
        return np.asarray(self.pipeline.decision_function(features))

    def vote_margin(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the smallest absolute pairwise decision of each image, (N,) float64.

        Scores count pairwise votes, so they are discontinuous where a pairwise decision is zero.
        """
        pairwise = copy(self.pipeline[-1])
        pairwise.decision_function_shape = "ovo"
        for scaler in self.pipeline[:-1]:
            features = scaler.transform(features)
        decisions = pairwise.decision_function(features).reshape(len(features), -1)
        return np.asarray(np.abs(decisions).min(axis=1))

    def calibrate(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert scores from `decision_function` to probabilities, (N, K) float64."""
        return np.asarray(softmax(_logits(decisions, self.slope_, self.offsets_), axis=1))

    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities, (N, K) float64, of features, (N, D) float32."""
        return self.calibrate(self.decision_function(features))

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the class index with the highest probability, (N,) int64."""
        return np.asarray(self.classes_[self.predict_proba(features).argmax(axis=1)])


def _logits(
    decisions: NDArray[np.float64], slope: float, offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    logits = slope * decisions + offsets
    if decisions.ndim == 1:
        return np.column_stack([np.zeros_like(logits), logits])
    return logits
