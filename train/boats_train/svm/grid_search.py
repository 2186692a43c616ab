"""Cross-validation of RBF SVMs on precomputed kernel matrices.

The squared distances of all images are computed once for each scaler. Every fold, C, gamma and
class weight reads its kernel from them; fitting an SVC on a kernel is much faster than on features.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from boats_runtime.cpu import granted_cpus
from boats_runtime.progress import track
from boats_train.svm.folds import Fold, Folds

SCALERS = ("none", "l2", "standard")
GAMMA_SCALES = (0.5, 0.7, 1.0, 1.4)
C_VALUES = (3.0, 10.0, 30.0)
CLASS_WEIGHTS = (None, "balanced")

MAX_IMAGES = 6000
"""Largest number of images in the search: the size of its matrices is quadratic."""

TOLERANCE = 0.002
"""Candidates within this distance of the best mean accuracy are compared by macro-F1."""


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters of the SVM.

    Attributes:
        scaler: `none`, `l2` (each feature vector scaled to length 1) or `standard`.
        gamma: Coefficient of the RBF kernel for scaled features.
        gamma_scale: Gamma as a multiple of scikit-learn's `gamma="scale"`; NaN if unknown.
        C: Inverse regularization strength.
        class_weight: None or `balanced`.
    """

    scaler: str
    gamma: float
    gamma_scale: float
    C: float
    class_weight: str | None


@dataclass(frozen=True)
class CandidateScore:
    """Results of a candidate on held-out images.

    Macro-F1 is computed over all images together. `predicted` has the predicted class index of each
    image while it was held out, (N,) int64.
    """

    candidate: Candidate
    fold_accuracy: tuple[float, ...]
    mean_accuracy: float
    macro_f1: float
    predicted: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Return the hyperparameters and metrics as JSON values."""
        return {
            "scaling": self.candidate.scaler,
            "gamma": self.candidate.gamma,
            "gamma_factor": self.candidate.gamma_scale,
            "cost": self.candidate.C,
            "class_weight": self.candidate.class_weight,
            "fold_accuracy": list(self.fold_accuracy),
            "mean_accuracy": self.mean_accuracy,
            "macro_f1": self.macro_f1,
        }


class CrossValidation:
    """Cross-validation of SVM hyperparameters on features, (N, D), and class indices, (N,)."""

    def __init__(
        self, features: NDArray[np.float32], targets: NDArray[np.int64], folds: Folds
    ) -> None:
        self._features = features.astype(np.float64)
        self._targets = targets
        self._folds = folds
        self._threads = granted_cpus()

    def search(self) -> list[CandidateScore]:
        """Evaluate all candidates of the grid.

        The first one returned is selected: it has the best macro-F1 among those whose mean accuracy
        is within `TOLERANCE` of the best. The others follow in descending order of mean accuracy.
        """
        total = len(SCALERS) * len(GAMMA_SCALES) * len(C_VALUES) * len(CLASS_WEIGHTS)
        scores = list(track(self._evaluate_grid(), "search", total))
        lowest = max(score.mean_accuracy for score in scores) - TOLERANCE
        selected = max(
            (score for score in scores if score.mean_accuracy >= lowest),
            key=lambda score: (score.macro_f1, score.mean_accuracy),
        )
        scores.sort(key=lambda score: (score is not selected, -score.mean_accuracy))
        return scores

    def evaluate(self, candidate: Candidate) -> CandidateScore:
        """Evaluate one candidate."""
        return self._evaluate(candidate, self._compute_kernel(candidate))

    def compute_decisions(self, candidate: Candidate) -> NDArray[np.float64]:
        """Compute the one-vs-rest scores of each image while it is held out for calibration.

        Their shape is (N, K), or (N,) for two classes, as from `SVC.decision_function`.
        """
        kernel = self._compute_kernel(candidate)

        def decide(fold: Fold) -> NDArray[np.float64]:
            train, held_out = fold
            svc = make_svc(candidate).fit(kernel[np.ix_(train, train)], self._targets[train])
            return np.asarray(svc.decision_function(kernel[np.ix_(held_out, train)]))

        pairs = self._folds.split_with_all_classes(self._targets)
        with ThreadPoolExecutor(self._threads) as pool:
            decisions = np.concatenate(list(pool.map(decide, pairs)))
        order = np.concatenate([held_out for _, held_out in pairs])
        return decisions[np.argsort(order)]

    def _evaluate_grid(self) -> Iterator[CandidateScore]:
        for scaler in SCALERS:
            scaled = _scale(self._features, scaler)
            distances = _squared_distances(scaled)
            scale = _scale_gamma(scaled)
            for gamma_scale in GAMMA_SCALES:
                kernel = np.exp(-gamma_scale * scale * distances)
                for c_value, weight in product(C_VALUES, CLASS_WEIGHTS):
                    candidate = Candidate(scaler, gamma_scale * scale, gamma_scale, c_value, weight)
                    yield self._evaluate(candidate, kernel)

    def _evaluate(self, candidate: Candidate, kernel: NDArray[np.float64]) -> CandidateScore:
        targets = self._targets
        predicted = np.empty_like(targets)

        def predict(fold: Fold) -> float:
            train, held_out = fold
            classes = np.unique(targets[train])
            if len(classes) == 1:  # the only image of one of two classes is held out
                predicted[held_out] = classes[0]
            else:
                svc = make_svc(candidate).fit(kernel[np.ix_(train, train)], targets[train])
                predicted[held_out] = svc.predict(kernel[np.ix_(held_out, train)])
            return float(np.mean(predicted[held_out] == targets[held_out]))

        with ThreadPoolExecutor(self._threads) as pool:  # libsvm releases the GIL
            accuracies = tuple(pool.map(predict, self._folds.split()))
        macro_f1 = float(f1_score(targets, predicted, average="macro", zero_division=0))
        return CandidateScore(
            candidate, accuracies, float(np.mean(accuracies)), macro_f1, predicted
        )

    def _compute_kernel(self, candidate: Candidate) -> NDArray[np.float64]:
        distances = _squared_distances(_scale(self._features, candidate.scaler))
        return np.asarray(np.exp(-candidate.gamma * distances))


def make_scaler(name: str) -> Normalizer | StandardScaler | None:
    """Return the scikit-learn transformer of a scaler name; None for `none`."""
    return {"none": None, "l2": Normalizer(), "standard": StandardScaler()}[name]


def make_default_candidate(features: NDArray[np.float32]) -> Candidate:
    """Return the hyperparameters of the report, `SVC(gamma="scale")`, for training features."""
    return Candidate("none", _scale_gamma(features.astype(np.float64)), 1.0, 1.0, None)


def read_candidate(pipeline: Pipeline) -> Candidate:
    """Return the hyperparameters of a fitted pipeline, without `gamma_scale`."""
    *scalers, svc = (step for _, step in pipeline.steps)
    kind = type(scalers[0]) if scalers else None
    scaler = next(name for name in SCALERS if kind in (None, type(make_scaler(name))))
    return Candidate(scaler, svc.gamma, math.nan, svc.C, svc.class_weight)


def make_svc(candidate: Candidate) -> SVC:
    """Return an SVC with the hyperparameters, for precomputed kernels."""
    return SVC(
        kernel="precomputed",
        gamma=candidate.gamma,
        C=candidate.C,
        class_weight=candidate.class_weight,
        break_ties=True,
    )


def _scale(features: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    scaler = make_scaler(name)
    # `standard` uses the statistics of all images, held-out ones included: they need no labels.
    return features if scaler is None else np.asarray(scaler.fit_transform(features))


def _scale_gamma(features: NDArray[np.float64]) -> float:
    variance = float(features.var())  # gamma="scale" of scikit-learn
    return 1.0 / (features.shape[1] * variance) if variance else 1.0


def _squared_distances(features: NDArray[np.float64]) -> NDArray[np.float64]:
    centered = features - features.mean(axis=0)  # reduces cancellation
    norms = np.einsum("ij,ij->i", centered, centered)
    return np.asarray(np.maximum(norms[:, None] - 2 * (centered @ centered.T) + norms, 0))
