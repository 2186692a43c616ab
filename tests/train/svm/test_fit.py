from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from boats_train.svm.fit import FittedSvm, fit_svm
from boats_train.svm.folds import STRATIFIED_FOLDS, Folds, make_folds

COUNTS = {
    "balanced": (20, 20, 20),
    "two classes": (30, 25),
    "many classes": (60, 30, 12, 7, 5, 4, 3, 2, 2, 1, 1),
    "pairs": (2, 2, 2),
    "one pair": (40, 2),
    "one single": (40, 1),
    "singles only": (1, 1),
    "single and pair": (2, 1),
}
cases = pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())


def make_targets(counts: tuple[int, ...]) -> NDArray[np.int64]:
    targets = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(5).permutation(targets)


def make_features(targets: NDArray[np.int64], spread: float = 1.0) -> NDArray[np.float32]:
    """Clouds that overlap: one a class, in eight dimensions."""
    centres = np.random.default_rng(1).normal(size=(targets.max() + 1, 8)) * 2
    noise = np.random.default_rng(2).normal(size=(len(targets), 8)) * spread
    return (centres[targets] + noise).astype(np.float32)


def make_paths(targets: NDArray[np.int64]) -> list[Path]:
    """Names that tell no date."""
    return [Path(f"{number}.jpg") for number in range(len(targets))]


def fold(targets: NDArray[np.int64], seed: int = 0) -> Folds:
    return make_folds(make_paths(targets), targets, None, seed)


def fit(
    targets: NDArray[np.int64], seed: int = 0, tune: bool = False, spread: float = 1.0
) -> FittedSvm:
    features = make_features(targets, spread)
    return fit_svm(features, targets, make_paths(targets), tune=tune, seed=seed)


@cases
def test_make_folds__every_class_is_in_every_training_part(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    for train, _ in fold(targets).with_every_class(targets):
        assert set(targets[train]) == set(targets)


@cases
def test_make_folds__held_out_photos_are_all_once(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    folds = fold(targets)
    for pairs in (folds.strict(), folds.with_every_class(targets)):
        assert len(pairs) == len(folds.names)
        together = np.concatenate([held_out for _, held_out in pairs])
        assert sorted(together) == list(range(len(targets)))


@cases
def test_make_folds__only_singletons_are_on_both_sides(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    both = [np.intersect1d(*pair) for pair in fold(targets).with_every_class(targets)]
    single = np.flatnonzero(np.bincount(targets)[targets] == 1)
    assert sorted(np.concatenate(both)) == sorted(single)


def test_make_folds__two_photos_of_a_class_are_held_out_apart() -> None:
    targets = make_targets((30, 2))
    first, second = fold(targets).assigned[targets == 1]
    assert first != second


def test_make_folds__a_class_is_spread_evenly() -> None:
    targets = make_targets((23, 11))
    assigned = fold(targets).assigned
    for index in range(2):
        held = np.bincount(assigned[targets == index], minlength=STRATIFIED_FOLDS)
        assert max(held) - min(held) <= 1


def test_make_folds__the_seed_shuffles() -> None:
    targets = make_targets((30, 30))
    first, again, other = (fold(targets, seed).assigned for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@cases
def test_fit_svm__probabilities_sum_to_one(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    probabilities = fit(targets).estimator.predict_proba(make_features(targets))
    assert probabilities.shape == (len(targets), len(counts))
    assert np.isfinite(probabilities).all()
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@cases
def test_fit_svm__label_is_of_the_highest_probability(counts: tuple[int, ...]) -> None:
    estimator = fit(make_targets(counts)).estimator
    unseen = make_features(make_targets((50,) * len(counts)), spread=3.0)
    best = np.argmax(estimator.predict_proba(unseen), axis=1)
    np.testing.assert_array_equal(estimator.predict(unseen), best)


@pytest.mark.parametrize("tune", [False, True])
def test_fit_svm__learns(tune: bool) -> None:
    estimator = fit(make_targets((40, 40, 40)), tune=tune).estimator
    unseen = np.repeat(np.arange(3), 40)
    assert np.mean(estimator.predict(make_features(unseen)) == unseen) > 0.9


@pytest.mark.parametrize("tune", [False, True])
def test_fit_svm__same_seed_same_probabilities(tune: bool) -> None:
    targets = make_targets((25, 20, 15))
    features = make_features(targets, spread=3.0)
    first, again, other = (
        fit(targets, seed, tune, spread=3.0).estimator.predict_proba(features) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
