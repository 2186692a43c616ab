"""The search for the SVM's pipeline: grouped cross-validation on shared kernel matrices.

The squared distances of all photos are computed once for each scaling of the features, and every
fold, C, gamma and class weight reads its kernel from them; an SVC on a ready kernel is fitted in a
fraction of the time that it takes on features.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from boats_train.svm.folds import Folds

SCALINGS = ("none", "l2", "standard")
GAMMA_FACTORS = (0.5, 0.7, 1.0, 1.4)
COSTS = (3.0, 10.0, 30.0)
WEIGHTS = (None, "balanced")

MAX_PHOTOS = 6000
"""The search looks at this many photos at most: its matrices grow with the square."""

TOLERANCE = 0.002
"""Candidates this close to the best accuracy are taken for equal; macro-F1 decides among them."""


@dataclass(frozen=True)
class Candidate:
    """One setting of the SVM.

    Attributes:
        scaling: `none`, `l2` (each photo's features to length 1) or `standard`.
        gamma: Of the RBF kernel, on scaled features.
        gamma_factor: The same as a multiple of scikit-learn's `scale`.
        cost: C.
        class_weight: None or `balanced`.
    """

    scaling: str
    gamma: float
    gamma_factor: float
    cost: float
    class_weight: str | None


@dataclass(frozen=True)
class Scored:
    """How a candidate did on held-out photos.

    Attributes:
        candidate: The setting.
        fold_accuracy: Accuracy on each fold.
        mean_accuracy: Their mean.
        macro_f1: Over all held-out photos together.
        predicted: Class indices `(N,) int64`, each photo's while it was held out.
    """

    candidate: Candidate
    fold_accuracy: tuple[float, ...]
    mean_accuracy: float
    macro_f1: float
    predicted: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Returns everything but the predictions as JSON values."""
        return asdict(self.candidate) | {
            "fold_accuracy": list(self.fold_accuracy),
            "mean_accuracy": self.mean_accuracy,
            "macro_f1": self.macro_f1,
        }


def make_scaler(scaling: str) -> Normalizer | StandardScaler | None:
    """Returns the scikit-learn transformer of a scaling; None for `none`."""
    return {"none": None, "l2": Normalizer(), "standard": StandardScaler()}[scaling]


def search(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    folds: Folds,
    threads: int,
    progress: Callable[[Iterator[Scored], int], Iterator[Scored]],
) -> list[Scored]:
    """Tries every setting of the grid by cross-validation.

    Args:
        features: `(N, D) float32`.
        targets: Class indices `(N,) int64`.
        folds: Which photos are held out together.
        threads: How many folds are fitted at once.
        progress: Passes the results on while it shows how many are there, given their number.

    Returns:
        Every candidate, the chosen one first: the best macro-F1 among those whose mean accuracy is
        within `TOLERANCE` of the best. The others follow by mean accuracy.
    """
    total = len(SCALINGS) * len(GAMMA_FACTORS) * len(COSTS) * len(WEIGHTS)
    scored = list(progress(_score_grid(features, targets, folds, threads), total))
    enough = max(row.mean_accuracy for row in scored) - TOLERANCE
    chosen = max(
        (row for row in scored if row.mean_accuracy >= enough),
        key=lambda row: (row.macro_f1, row.mean_accuracy),
    )
    scored.sort(key=lambda row: (row is not chosen, -row.mean_accuracy))
    return scored


def plain_candidate(features: NDArray[np.float32]) -> Candidate:
    """Returns the report's setting, `SVC(gamma="scale")`, for features `(N, D) float32`."""
    return Candidate("none", _scale_gamma(features.astype(np.float64)), 1.0, 1.0, None)


def read_candidate(pipeline: Pipeline) -> Candidate:
    """Returns the setting of a fitted pipeline; its gamma is not known as a multiple any more."""
    *scalers, svc = (step for _, step in pipeline.steps)
    kind = type(scalers[0]) if scalers else None
    scaling = next(name for name in SCALINGS if kind in (None, type(make_scaler(name))))
    return Candidate(scaling, svc.gamma, math.nan, svc.C, svc.class_weight)


def score(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    folds: Folds,
    candidate: Candidate,
    threads: int,
) -> Scored:
    """Cross-validates one setting; arguments as in `search`."""
    kernel = _kernel(features, candidate)
    return _score(kernel, targets, folds, candidate, threads)


def held_out_decisions(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    folds: Folds,
    candidate: Candidate,
    threads: int,
) -> NDArray[np.float64]:
    """Returns each photo's one-vs-rest scores while it was held out for calibration.

    Arguments as in `search`.

    Returns:
        `(N, K) float64`, or `(N,)` for two classes, as `SVC.decision_function` has them.
    """
    kernel = _kernel(features, candidate)

    def decide(fold: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.float64]:
        learned, held = fold
        svc = _svc(candidate).fit(kernel[np.ix_(learned, learned)], targets[learned])
        decisions: NDArray[np.float64] = svc.decision_function(kernel[np.ix_(held, learned)])
        return decisions

    pairs = folds.with_every_class(targets)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(decide, pairs))
    order = np.concatenate([held for _, held in pairs])
    decisions = np.concatenate(parts)
    return decisions[np.argsort(order)]


def _score_grid(
    features: NDArray[np.float32], targets: NDArray[np.int64], folds: Folds, threads: int
) -> Iterator[Scored]:
    for scaling in SCALINGS:
        scaled = _scale(features, scaling)
        distances = _squared_distances(scaled)
        scale = _scale_gamma(scaled)
        for factor in GAMMA_FACTORS:
            kernel = np.exp(-factor * scale * distances)
            for cost in COSTS:
                for weight in WEIGHTS:
                    candidate = Candidate(scaling, factor * scale, factor, cost, weight)
                    yield _score(kernel, targets, folds, candidate, threads)


def _score(
    kernel: NDArray[np.float64],
    targets: NDArray[np.int64],
    folds: Folds,
    candidate: Candidate,
    threads: int,
) -> Scored:
    predicted = np.empty_like(targets)

    def predict(fold: tuple[NDArray[np.int64], NDArray[np.int64]]) -> float:
        learned, held = fold
        classes = np.unique(targets[learned])
        if len(classes) == 1:  # the only photo of the other of two classes is held out
            predicted[held] = classes[0]
        else:
            svc = _svc(candidate).fit(kernel[np.ix_(learned, learned)], targets[learned])
            predicted[held] = svc.predict(kernel[np.ix_(held, learned)])
        return float(np.mean(predicted[held] == targets[held]))

    with ThreadPoolExecutor(threads) as pool:  # libsvm works without the interpreter's lock
        accuracies = tuple(pool.map(predict, folds.strict()))
    macro_f1 = float(f1_score(targets, predicted, average="macro", zero_division=0))
    return Scored(candidate, accuracies, float(np.mean(accuracies)), macro_f1, predicted)


def _kernel(features: NDArray[np.float32], candidate: Candidate) -> NDArray[np.float64]:
    """Returns the RBF kernel of all photos with each other, `(N, N) float64`."""
    squared = _squared_distances(_scale(features, candidate.scaling))
    kernel: NDArray[np.float64] = np.exp(-candidate.gamma * squared)
    return kernel


def _svc(candidate: Candidate) -> SVC:
    return SVC(
        kernel="precomputed",
        C=candidate.cost,
        class_weight=candidate.class_weight,
        break_ties=True,
    )


def _scale(features: NDArray[np.float32], scaling: str) -> NDArray[np.float64]:
    scaler = make_scaler(scaling)
    wide = features.astype(np.float64)
    # The statistics of `standard` are those of all photos: they need no labels.
    scaled: NDArray[np.float64] = wide if scaler is None else scaler.fit_transform(wide)
    return scaled


def _scale_gamma(features: NDArray[np.float64]) -> float:
    """Returns scikit-learn's `gamma="scale"`: 1 / (features * variance)."""
    variance = float(features.var())
    return 1.0 / (features.shape[1] * variance) if variance else 1.0


def _squared_distances(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns `(N, N) float64`, from centred features so that little cancels."""
    centred = features - features.mean(axis=0)
    norms = np.einsum("ij,ij->i", centred, centred)
    distances = norms[:, None] - 2 * (centred @ centred.T) + norms
    squared: NDArray[np.float64] = np.maximum(distances, 0)
    return squared
