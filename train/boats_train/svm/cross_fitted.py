"""Fit an SVM on features of a fine-tuned network, with the scores of cross-fitted networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_train.svm.fit import FittedSVC, calibrate, fit_pipeline, summarize_folds
from boats_train.svm.folds import Folds
from boats_train.svm.grid_search import (
    DEFAULT_CANDIDATE,
    FINE_TUNED_GRID,
    CrossValidation,
)


@dataclass(frozen=True)
class HeldOutFeatures:
    """Features from networks that were not trained on the held-out images.

    Attributes:
        by_fold: Features of all N images for each fold, (N, D) float32 each.
        targets: (N,) int64, class indices.
        folds: Folds of the N images.
        train_count: Number of training images; they come before the validation images.
    """

    by_fold: Sequence[NDArray[np.float32]]
    targets: NDArray[np.int64]
    folds: Folds
    train_count: int


def fit_cross_fitted_svm(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    held_out: HeldOutFeatures,
    *,
    tune: bool = True,
    seed: int = 0,
) -> tuple[FittedSVC, dict[str, Any]]:
    """Fit an SVM on the features of a network that was trained on the same images.

    The hyperparameters, the calibration and the threshold come from the held-out features alone.

    Args:
        features: (M, D) float32, features of the training images from the final network.
        targets: (M,) int64, their class indices.
        held_out: Features of the training and validation images from the cross-fitted networks.
        tune: Whether to choose among `FINE_TUNED_GRID`; otherwise the hyperparameters are those
            of the report.
        seed: Seed of the bootstrap intervals.

    Returns:
        The SVM, and the result of `boats_train.svm.fit.cross_validate` on the training and
        validation images.
    """
    count = held_out.train_count
    folds = held_out.folds.take(np.arange(count))
    validation = CrossValidation(
        [values[:count] for values in held_out.by_fold], held_out.targets[:count], folds
    )
    scores = validation.search(FINE_TUNED_GRID if tune else (DEFAULT_CANDIDATE,))
    candidate = scores[0].candidate
    decisions = validation.compute_decisions(candidate)
    pipeline = fit_pipeline(features, targets, candidate)
    estimator, point = calibrate(pipeline, decisions, held_out.targets[:count], folds)
    score = CrossValidation(held_out.by_fold, held_out.targets, held_out.folds).evaluate(candidate)
    with_valid = summarize_folds(score, held_out.targets, held_out.folds, ("train", "valid"), seed)
    return FittedSVC(estimator, folds, tuple(scores), point), with_valid
