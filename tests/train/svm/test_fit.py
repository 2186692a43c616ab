from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from boats_metrics.selective import select_threshold
from boats_train.svm import fit as fit_module
from boats_train.svm.fit import FittedSVC, cross_validate, fit_svm
from boats_train.svm.folds import Folds
from boats_train.svm.grid_search import DEFAULT_CANDIDATE, CrossValidation

COUNTS = {
    "balanced": (20, 20, 20),
    "two classes": (30, 25),
    "many classes": (60, 30, 12, 7, 5, 4, 3, 2, 2, 1, 1),
    "one single": (40, 1),
    "singles only": (1, 1),
}


def make_targets(counts: tuple[int, ...]) -> NDArray[np.int64]:
    return np.random.default_rng(5).permutation(np.repeat(np.arange(len(counts)), counts))


def make_features(targets: NDArray[np.int64], spread: float = 1.0) -> NDArray[np.float32]:
    """Return overlapping clusters, one per class, in eight dimensions."""
    centers = np.random.default_rng(1).normal(size=(targets.max() + 1, 8)) * 2
    noise = np.random.default_rng(2).normal(size=(len(targets), 8)) * spread
    return (centers[targets] + noise).astype(np.float32)


def fit(
    targets: NDArray[np.int64], seed: int = 0, tune: bool = False, spread: float = 1.0
) -> FittedSVC:
    paths = [Path(f"{number}.jpg") for number in range(len(targets))]
    return fit_svm(make_features(targets, spread), targets, paths, tune=tune, seed=seed)


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
def test_fit_svm__predicts_the_class_of_the_highest_probability(counts: tuple[int, ...]) -> None:
    estimator = fit(make_targets(counts)).estimator
    unseen = make_features(make_targets((50,) * len(counts)), spread=3.0)
    probabilities = estimator.predict_proba(unseen)
    assert probabilities.shape == (len(unseen), len(counts))
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(estimator.predict(unseen), probabilities.argmax(axis=1))


@pytest.mark.parametrize("tune", [False, True])
def test_fit_svm__separates_clusters(tune: bool) -> None:
    estimator = fit(make_targets((40, 40, 40)), tune=tune).estimator
    unseen = np.repeat(np.arange(3), 40)
    assert np.mean(estimator.predict(make_features(unseen)) == unseen) > 0.9


@pytest.mark.parametrize("tune", [False, True])
def test_fit_svm__depends_on_the_seed_only(tune: bool) -> None:
    targets = make_targets((25, 20, 15))
    features = make_features(targets, spread=3.0)
    first, same, other = (
        fit(targets, seed, tune, spread=3.0).estimator.predict_proba(features) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("groups", [8, 40], ids=["a fold per group", "groups share folds"])
def test_fit_svm__subsample_with_tiny_groups(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "MAX_IMAGES", 60)
    monkeypatch.setattr(fit_module, "MIN_SUBSAMPLE", 5)
    targets = make_targets((150, 100, 50))
    # The first group has most of the images, the others have one image each.
    numbers = np.maximum(np.arange(300) - 300 + groups, 0)
    paths = [Path(f"g{number:02d}-{index}.jpg") for index, number in enumerate(numbers)]
    fitted = fit_svm(make_features(targets), targets, paths, groups=r"^g(\d+)")
    accuracies = fitted.scores[0].fold_accuracy
    assert len(accuracies) == len(fitted.folds.names)
    assert np.isfinite(accuracies).all()
    assert len(fitted.scores[0].predicted) < 100
    chosen = fitted.to_json()["cross_validation"]["chosen"]
    assert chosen["gamma"] == fitted.estimator.pipeline[-1].gamma


def test_subsample__images_of_every_fold_and_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "MAX_IMAGES", 100)
    targets = np.repeat([0, 1, 2, 0, 1, 0], [400, 200, 1, 1, 1, 300])
    folds = Folds(np.repeat([0, 1, 2], [601, 2, 300]), ("a", "b", "c"), "leave-one-group-out")
    indices = fit_module.subsample(targets, folds, seed=0)
    assert len(indices) == len(set(indices)) <= 100 + 6
    cells = Counter(zip(folds.assignment[indices].tolist(), targets[indices].tolist(), strict=True))
    assert cells == {(0, 0): 44, (0, 1): 22, (0, 2): 1, (1, 0): 1, (1, 1): 1, (2, 0): 33}


def test_fit_svm__threshold_without_images_that_calibration_learned_from() -> None:
    targets = np.array([0, 1] * 30 + [2] * 10)
    groups = np.array([0, 0, 1, 1] * 15 + [1] * 10)
    paths = [Path(f"g{group}-{number}.jpg") for number, group in enumerate(groups)]
    features = make_features(targets, spread=3.0)
    fitted = fit_svm(features, targets, paths, tune=False, groups=r"^g(\d)")
    recorded = fitted.to_json()
    assert recorded["cross_validation"]["splits"] == ["train"]
    assert recorded["cross_validation"]["photos"] == 70
    point = recorded["operating_point"]
    assert (point["splits"], point["photos"], point["excluded"]) == (["train"], 60, 10)

    decisions = CrossValidation(features, targets, fitted.folds).compute_decisions(
        DEFAULT_CANDIDATE
    )
    probabilities = fitted.estimator.calibrate(decisions)
    expected = select_threshold(probabilities[:60], targets[:60])
    assert point["curve"] == expected.to_json()["curve"]
    assert point["threshold"] == expected.threshold


def test_fit_svm__no_threshold_if_no_image_was_held_out() -> None:
    assert fit(make_targets((1, 1, 1))).to_json()["operating_point"] is None


@pytest.mark.parametrize(
    ("name", "unit", "groups"),
    [("2013030{}_{}.jpg", "groups", 3), ("{}_{}.jpg", "images", None)],
)
def test_cross_validate__intervals_over_days(name: str, unit: str, groups: int | None) -> None:
    targets = make_targets((10, 8))
    paths = [Path(name.format(number % 3, number)) for number in range(18)]
    recorded = cross_validate(
        make_features(targets), targets, paths, DEFAULT_CANDIDATE, splits=("train", "valid")
    )
    assert (recorded["interval_unit"], recorded["interval_groups"]) == (unit, groups)


def test_cross_validate__names_its_splits() -> None:
    targets = make_targets((10, 8))
    paths = [Path(f"{number}.jpg") for number in range(18)]
    recorded = cross_validate(
        make_features(targets), targets, paths, DEFAULT_CANDIDATE, splits=("train", "valid")
    )
    assert (recorded["splits"], recorded["photos"]) == (["train", "valid"], 18)
