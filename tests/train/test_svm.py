import numpy as np
import pytest
from boats_train.svm import FOLDS, calibration_folds, fit_svm
from numpy.typing import NDArray

COUNTS = {
    "balanced": (20, 20, 20),
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


@cases
def test_calibration_folds__every_class_is_in_every_training_part(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    for train, _ in calibration_folds(targets, 0):
        assert set(targets[train]) == set(targets)


@cases
def test_calibration_folds__held_out_photos_are_all_once(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    folds = calibration_folds(targets, 0)
    assert 1 <= len(folds) <= FOLDS
    assert all(len(held_out) for _, held_out in folds)
    together = np.concatenate([held_out for _, held_out in folds])
    assert sorted(together) == list(range(len(targets)))


@cases
def test_calibration_folds__only_singletons_are_on_both_sides(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    both = [np.intersect1d(train, held_out) for train, held_out in calibration_folds(targets, 0)]
    single = np.flatnonzero(np.bincount(targets)[targets] == 1)
    assert sorted(np.concatenate(both)) == sorted(single)


def test_calibration_folds__two_photos_of_a_class_are_held_out_apart() -> None:
    targets = make_targets((30, 2))
    pair = set(np.flatnonzero(targets == 1))
    assert [len(pair & set(held_out)) for _, held_out in calibration_folds(targets, 0)].count(
        1
    ) == 2


def test_calibration_folds__a_class_is_spread_evenly() -> None:
    targets = make_targets((23, 11))
    for index in range(2):
        held = [int(np.sum(targets[out] == index)) for _, out in calibration_folds(targets, 0)]
        assert max(held) - min(held) <= 1


def test_calibration_folds__the_seed_shuffles() -> None:
    targets = make_targets((30, 30))
    first, again, other = (calibration_folds(targets, seed) for seed in (0, 0, 1))
    same = [
        all(np.array_equal(mine[1], its[1]) for mine, its in zip(first, folds, strict=True))
        for folds in (again, other)
    ]
    assert same == [True, False]


@cases
def test_fit_svm__probabilities_sum_to_one(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    features = make_features(targets)
    probabilities = fit_svm(features, targets, 0).predict_proba(features)
    assert probabilities.shape == (len(targets), len(counts))
    assert np.isfinite(probabilities).all()
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@cases
def test_fit_svm__label_is_of_the_highest_probability(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    estimator = fit_svm(make_features(targets), targets, 0)
    unseen = make_features(make_targets((50,) * len(counts)), spread=3.0)
    best = np.argmax(estimator.predict_proba(unseen), axis=1)
    np.testing.assert_array_equal(estimator.predict(unseen), best)


def test_fit_svm__learns() -> None:
    targets = make_targets((40, 40, 40))
    estimator = fit_svm(make_features(targets), targets, 0)
    unseen = np.repeat(np.arange(3), 40)
    assert np.mean(estimator.predict(make_features(unseen)) == unseen) > 0.9


def test_fit_svm__same_seed_same_probabilities() -> None:
    targets = make_targets((25, 20, 15))
    features = make_features(targets, spread=3.0)
    first, again, other = (
        fit_svm(features, targets, seed).predict_proba(features) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
