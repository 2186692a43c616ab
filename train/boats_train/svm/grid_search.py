"""Cross-validation of RBF SVMs on precomputed kernel matrices.

In each fold, the scaler and `gamma="scale"` are fitted to the training images only. The squared
distances of a fold are computed once for each scaler. Every C, gamma and class weight reads its
kernel from them; fitting an SVC on a kernel is much faster than on features.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from boats_runtime.cpu import granted_cpus
from boats_runtime.progress import track
from boats_train.svm.folds import Fold, Folds

SCALERS = ("none", "l2", "standard")
GAMMA_FACTORS = (0.5, 0.7, 1.0, 1.4)
C_VALUES = (3.0, 10.0, 30.0)
CLASS_WEIGHTS = (None, "balanced")
FINE_TUNED_C_VALUES = (1.0, 3.0, 10.0)

MAX_IMAGES = 6000
"""Largest number of images in the search: the size of its matrices is quadratic."""

TOLERANCE = 0.002
"""Candidates within this distance of the best mean accuracy are compared by macro-F1."""


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters of the SVM.

    Attributes:
        scaler: `none`, `l2` (each feature vector scaled to length 1) or `standard`.
        gamma_factor: Coefficient of the RBF kernel as a multiple of scikit-learn's `gamma="scale"`,
            which depends on the training images.
        C: Inverse regularization strength.
        class_weight: None or `balanced`.
    """

    scaler: str
    gamma_factor: float
    C: float
    class_weight: str | None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the hyperparameters from `CandidateScore.to_json`."""
        return cls(
            values["scaling"], values["gamma_factor"], values["cost"], values["class_weight"]
        )

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {
            "scaling": self.scaler,
            "gamma_factor": self.gamma_factor,
            "cost": self.C,
            "class_weight": self.class_weight,
        }


GRID = tuple(
    Candidate(*values) for values in product(SCALERS, GAMMA_FACTORS, C_VALUES, CLASS_WEIGHTS)
)

FINE_TUNED_GRID = tuple(
    Candidate("l2", factor, C, None) for factor, C in product(GAMMA_FACTORS, FINE_TUNED_C_VALUES)
)
"""Candidates for features of a fine-tuned network, which are easier to separate."""

DEFAULT_CANDIDATE = Candidate("none", 1.0, 1.0, None)
"""The hyperparameters of the report, `SVC(gamma="scale")`."""


@dataclass(frozen=True)
class CandidateScore:
    """Results of a candidate on held-out images.

    Macro-F1 is computed over all images together. `gamma` is the coefficient for the scaled
    features of all images. `predicted` has the predicted class index of each image while it was
    held out, (N,) int64.
    """

    candidate: Candidate
    gamma: float
    fold_accuracy: tuple[float, ...]
    mean_accuracy: float
    macro_f1: float
    predicted: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Return the hyperparameters and metrics as JSON values."""
        return self.candidate.to_json() | {
            "gamma": self.gamma,
            "fold_accuracy": list(self.fold_accuracy),
            "mean_accuracy": self.mean_accuracy,
            "macro_f1": self.macro_f1,
        }


_FoldKernels = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Kernels of the training images and of the held-out images with the training images."""

_FoldPrediction = tuple[Candidate, NDArray[np.int64], NDArray[np.int64]]
"""A candidate, the indices of the held-out images and their predicted classes."""


@dataclass(frozen=True)
class _FoldDistances:
    """Squared distances of scaled features, times gamma, to the T training images of a fold.

    Attributes:
        train: (T, T) float64.
        held_out: (M, T) float64.
    """

    train: NDArray[np.float64]
    held_out: NDArray[np.float64]

    def to_kernels(self, factor: float) -> _FoldKernels:
        return np.exp(-factor * self.train), np.exp(-factor * self.held_out)


class CrossValidation:
    """Cross-validation of SVM hyperparameters.

    Args:
        features: (N, D) float32; or one such array for each fold, from a network that was not
            trained on the held-out images of this fold.
        targets: (N,) int64, class indices.
        folds: Folds of the N images.
    """

    def __init__(
        self,
        features: NDArray[np.float32] | Sequence[NDArray[np.float32]],
        targets: NDArray[np.int64],
        folds: Folds,
    ) -> None:
        if isinstance(features, np.ndarray):
            features = [features] * len(folds.names)
        self._features = features
        self._targets = targets
        self._folds = folds

    def search(self, candidates: Sequence[Candidate] = GRID) -> list[CandidateScore]:
        """Evaluate candidates, by default all of the grid.

        The first one returned is selected: it has the best macro-F1 among those whose mean accuracy
        is within `TOLERANCE` of the best. The others follow in descending order of mean accuracy.
        """
        scores = self._evaluate(candidates)
        lowest = max(score.mean_accuracy for score in scores) - TOLERANCE
        selected = max(
            (score for score in scores if score.mean_accuracy >= lowest),
            key=lambda score: (score.macro_f1, score.mean_accuracy),
        )
        scores.sort(key=lambda score: (score is not selected, -score.mean_accuracy))
        return scores

    def evaluate(self, candidate: Candidate) -> CandidateScore:
        """Evaluate one candidate."""
        return self._evaluate([candidate])[0]

    def evaluate_fold(self, fold: int, candidates: Sequence[Candidate]) -> list[float]:
        """Return the accuracy of each candidate on the held-out images of one fold."""
        predictions = self._predict(candidates, [fold])
        accuracy = {
            candidate: float(np.mean(labels == self._targets[held_out]))
            for candidate, held_out, labels in predictions
        }
        return [accuracy[candidate] for candidate in candidates]

    def compute_decisions(self, candidate: Candidate) -> NDArray[np.float64]:
        """Compute the one-vs-rest scores of each image while it is held out for calibration.

        Their shape is (N, K), or (N,) for two classes, as from `SVC.decision_function`.
        """
        decisions = []
        pairs = self._folds.split_with_all_classes(self._targets)
        for fold, (train, held_out) in enumerate(pairs):
            distances = self._compute_distances(candidate.scaler, fold, (train, held_out))
            known, unseen = distances.to_kernels(candidate.gamma_factor)
            svc = make_svc(candidate).fit(known, self._targets[train])
            decisions.append(np.asarray(svc.decision_function(unseen)))
        order = np.concatenate([held_out for _, held_out in pairs])
        return np.concatenate(decisions)[np.argsort(order)]

    def _evaluate(self, candidates: Sequence[Candidate]) -> list[CandidateScore]:
        predicted = {candidate: np.empty_like(self._targets) for candidate in candidates}
        total = len(candidates) * len(self._folds.names)
        folds = range(len(self._folds.names))
        for candidate, held_out, labels in track(self._predict(candidates, folds), "search", total):
            predicted[candidate][held_out] = labels
        names = {candidate.scaler for candidate in candidates}
        features = self._features[0].astype(np.float64)
        scales = {name: _compute_scale(features, name) for name in names}
        return [
            self._score(candidate, scales[candidate.scaler], predicted[candidate])
            for candidate in candidates
        ]

    def _predict(
        self, candidates: Sequence[Candidate], folds: Sequence[int]
    ) -> Iterator[_FoldPrediction]:
        """Predict the held-out images; candidates with the same kernel are neighbors."""
        splits = self._folds.split()
        with ThreadPoolExecutor(granted_cpus()) as pool:  # libsvm releases the GIL
            for scaler, items in groupby(candidates, lambda candidate: candidate.scaler):
                group = list(items)
                for fold in folds:
                    train, held_out = splits[fold]
                    distances = self._compute_distances(scaler, fold, (train, held_out))
                    for factor, same_kernel in groupby(group, lambda item: item.gamma_factor):
                        kernels = distances.to_kernels(factor)
                        predict = partial(_fit_predict, kernels, self._targets[train])
                        for candidate, labels in pool.map(predict, same_kernel):
                            yield candidate, held_out, labels

    def _score(
        self, candidate: Candidate, scale: float, predicted: NDArray[np.int64]
    ) -> CandidateScore:
        targets = self._targets
        correct = predicted == targets
        accuracies = tuple(float(correct[held_out].mean()) for _, held_out in self._folds.split())
        macro_f1 = float(f1_score(targets, predicted, average="macro", zero_division=0))
        gamma, mean = candidate.gamma_factor * scale, float(np.mean(accuracies))
        return CandidateScore(candidate, gamma, accuracies, mean, macro_f1, predicted)

    def _compute_distances(self, name: str, fold: int, indices: Fold) -> _FoldDistances:
        known, unseen = (self._features[fold][part].astype(np.float64) for part in indices)
        scaler = make_scaler(name)
        if scaler is not None:
            known, unseen = scaler.fit_transform(known), scaler.transform(unseen)
        center, scale = known.mean(axis=0), _scale_gamma(known)
        known, unseen = known - center, unseen - center  # reduces cancellation
        return _FoldDistances(
            scale * _squared_distances(known, known), scale * _squared_distances(unseen, known)
        )


def make_scaler(name: str) -> Normalizer | StandardScaler | None:
    """Return the scikit-learn transformer of a scaler name; None for `none`."""
    return {"none": None, "l2": Normalizer(), "standard": StandardScaler()}[name]


def make_svc(candidate: Candidate) -> SVC:
    """Return an SVC with the hyperparameters, for precomputed kernels."""
    return SVC(
        kernel="precomputed", C=candidate.C, class_weight=candidate.class_weight, break_ties=True
    )


def compute_gamma(features: NDArray[np.float32], candidate: Candidate) -> float:
    """Return the coefficient of the RBF kernel for a candidate and its training features."""
    return candidate.gamma_factor * _compute_scale(features.astype(np.float64), candidate.scaler)


def _fit_predict(
    kernels: _FoldKernels, targets: NDArray[np.int64], candidate: Candidate
) -> tuple[Candidate, NDArray[np.int64]]:
    known, unseen = kernels
    classes = np.unique(targets)
    if len(classes) == 1:  # the only image of one of two classes is held out
        return candidate, np.full(len(unseen), classes[0])
    return candidate, np.asarray(make_svc(candidate).fit(known, targets).predict(unseen))


def _compute_scale(features: NDArray[np.float64], name: str) -> float:
    scaler = make_scaler(name)
    return _scale_gamma(features if scaler is None else scaler.fit_transform(features))


def _scale_gamma(features: NDArray[np.float64]) -> float:
    variance = float(features.var())  # gamma="scale" of scikit-learn
    return 1.0 / (features.shape[1] * variance) if variance else 1.0


def _squared_distances(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    norms = np.einsum("ij,ij->i", second, second)
    distances = np.einsum("ij,ij->i", first, first)[:, None] - 2 * (first @ second.T) + norms
    return np.asarray(np.maximum(distances, 0))
