"""An SVM whose scores are calibrated to probabilities."""

from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin

OFFSET_PENALTY = 0.01
"""Weight of the squared offsets beside the mean log loss; rare classes keep their rank by it."""


class CalibratedSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted SVM behind Platt's sigmoid in its form for several classes.

    The probabilities are `softmax(slope * score_k + offset_k)` over the one-vs-rest scores, for two
    classes `sigmoid(slope * score + offset)` (Platt 1999). One sigmoid a class, fitted apart and
    divided by their sum (Zadrozny and Elkan 2002), is what scikit-learn offers; it demotes rare
    classes.

    Args:
        pipeline: Fitted on class indices 0 to K-1; its last step is an SVC with one-vs-rest scores
            and ties broken.

    Attributes:
        classes_: Class indices `(K,) int64`.
        slope_: Steepness, above 0.
        offsets_: `(K,) float64`, for two classes `(1,)`.
    """

    def __init__(self, pipeline: Any = None) -> None:
        self.pipeline = pipeline

    def fit(self, decisions: NDArray[np.float64], targets: NDArray[np.int64]) -> Self:
        """Fits the calibration by log loss; the pipeline stays as it is.

        Args:
            decisions: Scores of photos the SVM had not seen, `(N, K) float64`, or `(N,)` for two
                classes.
            targets: Their class indices `(N,) int64`.
        """
        self.classes_ = np.asarray(self.pipeline.classes_, dtype=np.int64)
        offsets = 1 if decisions.ndim == 1 else decisions.shape[1]

        def loss(parameters: NDArray[np.float64]) -> float:
            logits = _logits(decisions, np.exp(parameters[0]), parameters[1:])
            right = log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
            return float(-right.mean() + OFFSET_PENALTY * np.sum(parameters[1:] ** 2))

        fitted = minimize(loss, np.zeros(1 + offsets), method="L-BFGS-B").x
        self.slope_ = float(np.exp(fitted[0]))
        self.offsets_ = np.asarray(fitted[1:], dtype=np.float64)
        return self

    def decision_function(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns the SVM's scores `(N, K) float64`, or `(N,)` for two classes."""
        decisions: NDArray[np.float64] = self.pipeline.decision_function(features)
        return decisions

    def vote_margin(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns how near to a tie the nearest vote between two classes was, `(N,) float64`.

        A score counts votes, so it jumps where one of the pairwise decisions passes zero.
        """
        *steps, (_, svc) = self.pipeline.steps
        for _, step in steps:
            features = step.transform(features)
        pairwise = copy(svc)
        pairwise.decision_function_shape = "ovo"
        decisions = pairwise.decision_function(features).reshape(len(features), -1)
        margins: NDArray[np.float64] = np.abs(decisions).min(axis=1)
        return margins

    def calibrate(self, decisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turns scores, as `decision_function` gives them, into probabilities `(N, K) float64`."""
        logits = _logits(decisions, self.slope_, self.offsets_)
        probabilities: NDArray[np.float64] = softmax(logits, axis=1)
        return probabilities

    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns probabilities `(N, K) float64` of features `(N, D) float32`."""
        return self.calibrate(self.decision_function(features))

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Returns the likeliest class of features `(N, D) float32`: `(N,) int64`."""
        chosen: NDArray[np.int64] = self.classes_[np.argmax(self.predict_proba(features), axis=1)]
        return chosen


def _logits(
    decisions: NDArray[np.float64], slope: float, offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    logits = slope * decisions + offsets
    if decisions.ndim == 1:
        return np.column_stack([np.zeros_like(logits), logits])
    return logits
