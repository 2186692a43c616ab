"""Fit an SVM on features: hyperparameters, calibration and threshold by cross-validation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from boats_metrics.classification import compute_metrics
from boats_metrics.selective import ThresholdSelection, select_threshold
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.svm.folds import Folds, make_folds
from boats_train.svm.grid_search import (
    DEFAULT_CANDIDATE,
    MAX_IMAGES,
    Candidate,
    CandidateScore,
    CrossValidation,
    compute_gamma,
    make_scaler,
    make_svc,
)

MIN_SUBSAMPLE = 20
"""Smallest number of images of a class in the subsample of the search."""


TRAIN = ["train"]
"""Splits of the images of the search, the calibration and the threshold."""


@dataclass(frozen=True)
class OperatingPoint:
    """Threshold selected by the scores of training images, each while it was held out.

    Attributes:
        selection: The selected threshold; None if no image was held out from the calibration.
        images: Number of images it is selected by.
        excluded: Number of images without a part in it: their classes are in one fold only, and
            calibration learns from them.
    """

    selection: ThresholdSelection | None
    images: int
    excluded: int

    def to_json(self) -> dict[str, Any] | None:
        """Return the attributes as JSON values; None if there is no threshold."""
        if self.selection is None:
            return None
        counts = {"splits": TRAIN, "photos": self.images, "excluded": self.excluded}
        return self.selection.to_json() | counts


@dataclass(frozen=True)
class FittedSVC:
    """A fitted SVM and its cross-validation; the selected candidate is the first of the scores."""

    estimator: CalibratedSVC
    folds: Folds
    scores: tuple[CandidateScore, ...]
    operating_point: OperatingPoint

    def to_json(self) -> dict[str, Any]:
        """Return the cross-validation and the operating point as JSON values."""
        gamma = self.estimator.pipeline[-1].gamma  # of all images, not of a subsample
        return {
            "cross_validation": {
                "kind": self.folds.kind,
                "splits": TRAIN,
                "photos": len(self.scores[0].predicted),
                "folds": list(self.folds.names),
                "chosen": self.scores[0].to_json() | {"gamma": gamma},
                "tried": [score.to_json() for score in self.scores],
            },
            "operating_point": self.operating_point.to_json(),
        }


def fit_svm(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    paths: Sequence[Path],
    *,
    tune: bool = True,
    groups: str | None = None,
    seed: int = 0,
) -> FittedSVC:
    """Fit an RBF SVM; calibration and threshold are fitted to the scores of held-out images.

    Args:
        features: (N, D) float32.
        targets: (N,) int64, class indices; every class has at least one image.
        paths: Image files, N of them; groups are read from their names.
        tune: Whether to search for the scaler, C, gamma and class weights. If not, they are those
            of the report, `SVC(gamma="scale")`.
        groups: Regular expression for the groups, see `make_folds`.
        seed: Seed for the folds and for the subsample of the search.
    """
    folds = make_folds(paths, targets, groups, seed)
    if tune:
        indices = subsample(targets, folds, seed)
        subset = folds.take(indices)
        scores = CrossValidation(features[indices], targets[indices], subset).search()
    else:
        scores = [CrossValidation(features, targets, folds).evaluate(DEFAULT_CANDIDATE)]
    estimator, point = fit_candidate(features, targets, folds, scores[0].candidate)
    return FittedSVC(estimator, folds, tuple(scores), point)


def fit_candidate(
    features: NDArray[np.float32], targets: NDArray[np.int64], folds: Folds, candidate: Candidate
) -> tuple[CalibratedSVC, OperatingPoint]:
    """Fit an SVM with given hyperparameters, its calibration and its threshold."""
    decisions = CrossValidation(features, targets, folds).compute_decisions(candidate)
    pipeline = fit_pipeline(features, targets, candidate)
    return calibrate(pipeline, decisions, targets, folds)


def fit_pipeline(
    features: NDArray[np.float32], targets: NDArray[np.int64], candidate: Candidate
) -> Pipeline:
    """Fit the scaler and the SVM of a candidate, without a calibration."""
    gamma = compute_gamma(features, candidate)
    svc = make_svc(candidate).set_params(kernel="rbf", gamma=gamma, cache_size=1000)
    scaler = make_scaler(candidate.scaler)
    steps = [("scale", scaler), ("svc", svc)] if scaler else [("svc", svc)]
    return Pipeline(steps).fit(features, targets)


def calibrate(
    pipeline: Pipeline, decisions: NDArray[np.float64], targets: NDArray[np.int64], folds: Folds
) -> tuple[CalibratedSVC, OperatingPoint]:
    """Fit the calibration and the threshold of an SVM to scores of held-out images."""
    estimator = CalibratedSVC(pipeline).fit(decisions, targets)
    held_out = ~folds.find_isolated(targets)
    selection = None
    if held_out.any():
        selection = select_threshold(estimator.calibrate(decisions)[held_out], targets[held_out])
    return estimator, OperatingPoint(selection, int(held_out.sum()), int((~held_out).sum()))


def cross_validate(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    paths: Sequence[Path],
    candidate: Candidate,
    *,
    splits: Sequence[str],
    groups: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluate hyperparameters on held-out images of `splits`; other arguments as in `fit_svm`.

    Return the accuracy of each fold and their mean, and the metrics over all images with 95%
    bootstrap intervals, as JSON values.
    """
    folds = make_folds(paths, targets, groups, seed)
    score = CrossValidation(features, targets, folds).evaluate(candidate)
    return summarize_folds(score, targets, folds, splits, seed)


def summarize_folds(
    score: CandidateScore,
    targets: NDArray[np.int64],
    folds: Folds,
    splits: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Return the result of `cross_validate` for a candidate that was evaluated on the folds."""
    classes = [str(index) for index in range(targets.max() + 1)]
    groups = None if folds.kind == "stratified" else folds.assignment
    metrics = compute_metrics(targets, score.predicted, classes, seed=seed, groups=groups)
    return {
        "kind": folds.kind,
        "splits": list(splits),
        "photos": len(targets),
        "folds": dict(zip(folds.names, score.fold_accuracy, strict=True)),
        "mean_accuracy": score.mean_accuracy,
        **metrics.summary_to_json(),
    }


def subsample(
    targets: NDArray[np.int64], folds: Folds, seed: int, max_images: int | None = None
) -> NDArray[np.int64]:
    """Return the indices of about `max_images` images; every class stays in all of its folds.

    None stands for `MAX_IMAGES`.
    """
    max_images = MAX_IMAGES if max_images is None else max_images
    if len(targets) <= max_images:
        return np.arange(len(targets))
    rng = np.random.default_rng(seed)
    samples = []
    for label, count in enumerate(np.bincount(targets).tolist()):
        size = min(count, max(MIN_SUBSAMPLE, count * max_images // len(targets)))
        for fold in range(len(folds.names)):
            indices = np.flatnonzero((targets == label) & (folds.assignment == fold))
            share = math.ceil(len(indices) * size / max(count, 1))
            samples.append(rng.choice(indices, share, replace=False))
    return np.sort(np.concatenate(samples))
