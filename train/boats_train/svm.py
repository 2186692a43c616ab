"""The report's classifier: an RBF support vector machine on pooled features."""

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

FOLDS = 5


def fit_svm(
    features: NDArray[np.float32], targets: NDArray[np.int64], seed: int
) -> CalibratedClassifierCV:
    """Fits `SVC(gamma="scale")` and calibrates its scores to probabilities.

    The probabilities come from one sigmoid a class on the one-vs-rest scores (Platt 1999; Zadrozny
    and Elkan 2002 for several classes), fitted on scores that cross-validation gave to photos the
    SVC had not seen. The label is the class of the highest probability.

    Args:
        features: `(N, D) float32`.
        targets: Class indices `(N,) int64`, each class at least once.
        seed: Shuffles the folds.

    Returns:
        A fitted estimator with `predict` and `predict_proba`.
    """
    folds = calibration_folds(targets, seed)
    svc = SVC(gamma="scale", break_ties=True)
    estimator = CalibratedClassifierCV(svc, method="sigmoid", ensemble=False, cv=folds)
    return estimator.fit(features, targets)


def calibration_folds(
    targets: NDArray[np.int64], seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Splits photos into folds in which every class is always among the training photos.

    Args:
        targets: Class indices `(N,) int64`.
        seed: Shuffles the folds.

    Returns:
        Pairs of training and held-out indices; the held-out ones together are all photos, once. A
        class with a single photo has no other to learn from: it stays in training too.
    """
    counts = np.bincount(targets)
    rng = np.random.default_rng(seed)
    # Dealt like cards, class by class: two photos of a class are never in the same fold, unless
    # it has more photos than there are folds.
    order = np.lexsort((rng.random(len(targets)), targets))
    assigned = np.empty(len(targets), dtype=np.int64)
    assigned[order] = np.arange(len(targets)) % FOLDS
    single = counts[targets] == 1
    pairs = []
    for fold in range(FOLDS):
        held_out = assigned == fold
        pairs.append((np.flatnonzero(~held_out | single), np.flatnonzero(held_out)))
    return [pair for pair in pairs if len(pair[1])]
