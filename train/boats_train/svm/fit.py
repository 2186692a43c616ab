"""The SVM on pooled features: chosen by cross-validation, calibrated, with its operating point."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from boats_metrics.classification import compute_metrics
from boats_metrics.selective import ThresholdSelection, select_threshold
from boats_runtime.cpu import granted_cpus
from boats_runtime.progress import track
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.svm.folds import Folds, make_folds
from boats_train.svm.grid_search import (
    MAX_PHOTOS,
    Candidate,
    Scored,
    held_out_decisions,
    make_scaler,
    plain_candidate,
    score,
    search,
)


@dataclass(frozen=True)
class FittedSvm:
    """A fitted SVM and how it did on photos that were held out.

    Attributes:
        estimator: From features to probabilities.
        folds: Which photos were held out together.
        searched: The settings that were tried, the chosen one first.
        operating_point: When to say unknown.
    """

    estimator: CalibratedSVC
    folds: Folds
    searched: tuple[Scored, ...]
    operating_point: ThresholdSelection

    def to_json(self) -> dict[str, Any]:
        """Returns the cross-validation and the operating point as JSON values."""
        chosen = self.searched[0]
        return {
            "cross_validation": {
                "kind": self.folds.kind,
                "folds": list(self.folds.names),
                "chosen": chosen.to_json(),
                "tried": [row.to_json() for row in self.searched],
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
) -> FittedSvm:
    """Fits an RBF SVM and calibrates its scores to probabilities.

    Tuned, scaling, C, gamma and class weights are those that do best on groups of photos that were
    held out; else they are the report's, `SVC(gamma="scale")`.

    Calibration and operating point come from scores that photos got while they were held out. The
    label is the class of the highest probability.

    Args:
        features: `(N, D) float32`.
        targets: Class indices `(N,) int64`, each class at least once.
        paths: The photos, whose names may tell their groups.
        tune: Whether to search.
        groups: `--groups`; see `make_folds`.
        seed: Of everything random.
    """
    threads = granted_cpus()
    folds = make_folds(paths, targets, groups, seed)
    if tune:
        some = _subsample(targets, seed)
        few = Folds(folds.assigned[some], folds.names, folds.kind)
        searched = search(features[some], targets[some], few, threads, _show_progress)
    else:
        searched = [score(features, targets, folds, plain_candidate(features), threads)]
    estimator, point = fit_candidate(features, targets, folds, searched[0].candidate)
    return FittedSvm(estimator, folds, tuple(searched), point)


def fit_candidate(
    features: NDArray[np.float32], targets: NDArray[np.int64], folds: Folds, candidate: Candidate
) -> tuple[CalibratedSVC, ThresholdSelection]:
    """Fits one setting, its calibration and its operating point; arguments as in `fit_svm`."""
    decisions = held_out_decisions(features, targets, folds, candidate, granted_cpus())
    pipeline = _pipeline(candidate).fit(features, targets)
    estimator = CalibratedSVC(pipeline).fit(decisions, targets)
    return estimator, select_threshold(estimator.calibrate(decisions), targets)


def cross_validate(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    paths: Sequence[Path],
    candidate: Candidate,
    *,
    groups: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures one setting on photos that were held out; arguments as in `fit_svm`.

    Returns:
        Mean accuracy over the folds and macro-F1 over all photos, each fold's accuracy, and 95 %
        bootstrap intervals over the photos, as JSON values.
    """
    folds = make_folds(paths, targets, groups, seed)
    scored = score(features, targets, folds, candidate, granted_cpus())
    classes = [str(index) for index in range(targets.max() + 1)]
    metrics = compute_metrics(targets, scored.predicted, classes, seed=seed)
    return {
        "kind": folds.kind,
        "photos": len(targets),
        "folds": dict(zip(folds.names, scored.fold_accuracy, strict=True)),
        "mean_accuracy": scored.mean_accuracy,
        **metrics.summary_to_json(),
    }


def _pipeline(candidate: Candidate) -> Pipeline:
    svc = SVC(
        gamma=candidate.gamma,
        C=candidate.cost,
        class_weight=candidate.class_weight,
        break_ties=True,
        cache_size=1000,
    )
    scaler = make_scaler(candidate.scaling)
    return Pipeline(([("scale", scaler)] if scaler else []) + [("svc", svc)])


def _subsample(targets: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Chooses at most `MAX_PHOTOS` photos, each class in its share but with 20 at least."""
    if len(targets) <= MAX_PHOTOS:
        return np.arange(len(targets))
    rng = np.random.default_rng(seed)
    share = MAX_PHOTOS / len(targets)
    some = []
    for index in np.unique(targets):
        photos = np.flatnonzero(targets == index)
        count = min(len(photos), max(20, int(len(photos) * share)))
        some.append(rng.choice(photos, count, replace=False))
    return np.sort(np.concatenate(some))


def _show_progress(rows: Iterator[Scored], total: int) -> Iterator[Scored]:
    return track(rows, "search", total)
