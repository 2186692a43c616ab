from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from boats_train.svm import fit as fit_module
from boats_train.svm.fit import FittedSVC, fit_svm
from boats_train.svm.folds import Folds

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
