from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from boats_train.svm.folds import MAX_GROUP_FOLDS, STRATIFIED_FOLDS, Folds, make_folds

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
class_counts = pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())


def make_targets(counts: tuple[int, ...]) -> NDArray[np.int64]:
    return np.random.default_rng(5).permutation(np.repeat(np.arange(len(counts)), counts))


def stratify(targets: NDArray[np.int64], seed: int = 0) -> Folds:
    """Return the folds of images without dates in their names."""
    return make_folds([Path(f"{number}.jpg") for number in targets], targets, None, seed)


def make_dated_paths(*days: str) -> list[Path]:
    return [Path(f"train/a/{day}_1200{number:02d}_1.jpg") for number, day in enumerate(days)]


@class_counts
def test_make_folds__each_image_is_held_out_once(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    folds = stratify(targets)
    for pairs in (folds.split(), folds.split_with_all_classes(targets)):
        assert len(pairs) == len(folds.names)
        held_out = np.concatenate([held_out for _, held_out in pairs])
        assert sorted(held_out) == list(range(len(targets)))
    for train, held_out in folds.split():
        assert sorted([*train, *held_out]) == list(range(len(targets)))


@class_counts
def test_split_with_all_classes__only_single_images_are_on_both_sides(
    counts: tuple[int, ...],
) -> None:
    targets = make_targets(counts)
    pairs = stratify(targets).split_with_all_classes(targets)
    assert all(set(targets[train]) == set(targets) for train, _ in pairs)
    shared = np.concatenate([np.intersect1d(*pair) for pair in pairs])
    assert sorted(shared) == np.flatnonzero(np.bincount(targets)[targets] == 1).tolist()


def test_split_with_all_classes__class_held_out_completely() -> None:
    folds = Folds(np.array([0, 0, 1, 1, 1]), ("a", "b"), "leave-one-group-out")
    pairs = folds.split_with_all_classes(np.array([0, 1, 0, 1, 2]))
    assert [(train.tolist(), held_out.tolist()) for train, held_out in pairs] == [
        ([2, 3, 4], [0, 1]),
        ([0, 1, 4], [2, 3, 4]),
    ]


def test_make_folds__classes_are_spread_evenly() -> None:
    targets = make_targets((50, 11, 2))
    folds = stratify(targets)
    assert (folds.kind, len(folds.names)) == ("stratified", STRATIFIED_FOLDS)
    for label in range(3):
        counts = np.bincount(folds.assignment[targets == label], minlength=STRATIFIED_FOLDS)
        assert max(counts) - min(counts) <= 1


def test_make_folds__seed_shuffles() -> None:
    targets = make_targets((30, 30))
    first, same, other = (stratify(targets, seed).assignment for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_make_folds__days_are_held_out() -> None:
    days = ("20130304", "20130305", "20130304", "20130305", "20130306", "20130306")
    folds = make_folds(make_dated_paths(*days), np.array([0, 0, 1, 1, 0, 1]), None, seed=0)
    assert folds.kind == "leave-one-group-out"
    assert folds.names == ("20130304", "20130305", "20130306")
    assert [folds.names[fold] for fold in folds.assignment] == list(days)


@pytest.mark.parametrize(
    ("days", "targets"),
    [
        (("20130304",) * 6, (0, 1) * 3),
        (("20130304", "20130304", "20130305", "20130305"), (0, 0, 1, 1)),
    ],
    ids=["a single day", "training images of a single class"],
)
def test_make_folds__days_cannot_be_held_out(days: tuple[str, ...], targets: list[int]) -> None:
    folds = make_folds(make_dated_paths(*days), np.array(targets), None, seed=0)
    assert folds.kind == "stratified"


def test_make_folds__many_groups_share_folds() -> None:
    paths = [Path(f"boat{number // 3:02d}-{number}.jpg") for number in range(90)]
    folds = make_folds(paths, np.arange(90) % 2, r"^boat(\d+)", seed=0)
    assert folds.kind == "grouped"
    assert np.bincount(folds.assignment).tolist() == [9] * MAX_GROUP_FOLDS
    for start in range(0, 90, 3):
        assert len(set(folds.assignment[start : start + 3])) == 1


def test_take__drops_empty_folds() -> None:
    folds = Folds(np.array([0, 1, 2, 2, 0]), ("a", "b", "c"), "leave-one-group-out")
    taken = folds.take(np.array([0, 2, 3]))
    assert (taken.names, taken.kind) == (("a", "c"), "leave-one-group-out")
    assert taken.assignment.tolist() == [0, 1, 1]


@class_counts
def test_find_isolated__images_on_both_sides_of_calibration(counts: tuple[int, ...]) -> None:
    targets = make_targets(counts)
    folds = stratify(targets)
    pairs = folds.split_with_all_classes(targets)
    shared = np.concatenate([np.intersect1d(*pair) for pair in pairs])
    assert np.flatnonzero(folds.find_isolated(targets)).tolist() == sorted(shared)
