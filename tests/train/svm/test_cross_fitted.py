import numpy as np
from numpy.typing import NDArray

from boats_train.svm.cross_fitted import HeldOutFeatures, fit_cross_fitted_svm
from boats_train.svm.folds import Folds
from boats_train.svm.grid_search import DEFAULT_CANDIDATE, FINE_TUNED_GRID

TARGETS = np.arange(120) % 3
TRAIN = 90
FOLDS = Folds(np.arange(120) // 3 % 3, ("a", "b", "c"), "leave-one-group-out")


def make_features(spread: float, seed: int) -> NDArray[np.float32]:
    """Return clusters around one center for each class."""
    noise = np.random.default_rng(seed).normal(0, spread, (120, 8))
    return (np.eye(3, 8)[TARGETS] + noise).astype(np.float32)


def make_held_out(spread: float) -> HeldOutFeatures:
    """Return features that separate the images of the other folds, as after a training."""
    by_fold = []
    for fold in range(3):
        features = make_features(0.01, fold)
        held_out = FOLDS.assignment == fold
        features[held_out] = make_features(spread, 10 + fold)[held_out]
        by_fold.append(features)
    return HeldOutFeatures(by_fold, TARGETS, FOLDS, TRAIN)


def test_fit_cross_fitted_svm__metrics_are_those_of_held_out_images() -> None:
    final = make_features(0.01, 5)  # separates its training images without an error
    svm, with_valid = fit_cross_fitted_svm(final[:TRAIN], TARGETS[:TRAIN], make_held_out(1.0))
    assert svm.estimator.pipeline.predict(final).tolist() == TARGETS.tolist()
    assert with_valid["photos"] == 120
    assert with_valid["splits"] == ["train", "valid"]
    assert set(with_valid["folds"]) == {"a", "b", "c"}
    assert 0.3 < with_valid["accuracy"] < 0.8
    recorded = svm.to_json()
    assert recorded["cross_validation"]["photos"] == TRAIN
    assert len(recorded["cross_validation"]["tried"]) == len(FINE_TUNED_GRID)
    assert recorded["operating_point"]["photos"] == TRAIN


def test_fit_cross_fitted_svm__calibration_is_not_overconfident() -> None:
    final = make_features(0.01, 5)
    slopes = [
        fit_cross_fitted_svm(final[:TRAIN], TARGETS[:TRAIN], make_held_out(spread))[
            0
        ].estimator.slope_
        for spread in (0.1, 1.0)
    ]
    assert slopes[1] < slopes[0] / 2


def test_fit_cross_fitted_svm__without_tuning() -> None:
    final = make_features(0.01, 5)
    svm, _ = fit_cross_fitted_svm(final[:TRAIN], TARGETS[:TRAIN], make_held_out(0.5), tune=False)
    assert [score.candidate for score in svm.scores] == [DEFAULT_CANDIDATE]
