"""Folds for cross-validation.

Consecutive frames of one day look alike, so a random split overestimates the accuracy. If the file
names contain dates, whole days are held out; otherwise images are stratified by class.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from boats_data.groups import find_groups

MAX_GROUP_FOLDS = 10
"""With more groups than this, several groups share a fold, which bounds the run time."""

STRATIFIED_FOLDS = 5

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of the training images and of the held-out images."""


@dataclass(frozen=True)
class Folds:
    """A partition of N images into F folds.

    Attributes:
        assignment: (N,) int64, fold of each image, 0 to F-1.
        names: Name of each fold: the group that is held out, or `fold 1`.
        kind: `leave-one-group-out`, `grouped` or `stratified`.
    """

    assignment: NDArray[np.int64]
    names: tuple[str, ...]
    kind: str

    def take(self, indices: NDArray[np.int64]) -> Self:
        """Return the folds of some of the images, without folds that become empty."""
        used, assignment = np.unique(self.assignment[indices], return_inverse=True)
        return replace(self, assignment=assignment, names=tuple(self.names[i] for i in used))

    def split(self) -> list[Fold]:
        """Return the folds for evaluation: training and held-out images are disjoint."""
        masks = [self.assignment == fold for fold in range(len(self.names))]
        return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in masks]

    def split_with_all_classes(self, targets: NDArray[np.int64]) -> list[Fold]:
        """Return the folds for calibration: every class has training images.

        Images from `find_isolated` are also training images, and their scores are optimistic.
        """
        isolated = self.find_isolated(targets)
        return [
            (np.sort(np.concatenate([train, held_out[isolated[held_out]]])), held_out)
            for train, held_out in self.split()
        ]

    def find_isolated(self, targets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether all images of the class of an image are in one fold, (N,) bool."""
        counts = np.zeros((targets.max() + 1, len(self.names)), np.int64)
        np.add.at(counts, (targets, self.assignment), 1)
        return np.asarray((counts > 0).sum(axis=1)[targets] == 1)


def make_folds(
    paths: Sequence[Path],
    targets: NDArray[np.int64],
    pattern: str | None,
    seed: int,
    max_folds: int = MAX_GROUP_FOLDS,
    stratified: int = STRATIFIED_FOLDS,
) -> Folds:
    """Assign images to folds.

    Args:
        paths: Image files, N of them.
        targets: (N,) int64, class indices.
        pattern: Regular expression for the group in the file name, see `find_groups`. None stands
            for a leading date if every file name has one. Groups are ignored if a fold would leave
            training images of a single class.
        seed: Seed for shuffling the images of stratified folds.
        max_folds: Largest number of folds of groups; with more groups, several share a fold.
        stratified: Number of folds without groups.

    Raises:
        UsageError: If the pattern is not a regular expression or does not match every file name.
    """
    groups = find_groups(paths, pattern)
    if groups is not None and len(set(groups)) > 1:
        names, indices = np.unique(groups, return_inverse=True)
        folds = Folds(indices, tuple(names.tolist()), "leave-one-group-out")
        if len(names) > max_folds:
            folds = _split(GroupKFold(max_folds), targets, "grouped", groups)
        if all(len(np.unique(targets[train])) > 1 for train, _ in folds.split()):
            return folds
    return make_stratified_folds(targets, seed, stratified)


def make_stratified_folds(
    targets: NDArray[np.int64], seed: int, folds: int = STRATIFIED_FOLDS
) -> Folds:
    """Assign images to folds at random, each class evenly."""
    count = min(folds, int(np.bincount(targets).max()))
    if count > 1:
        splitter: Any = StratifiedKFold(count, shuffle=True, random_state=seed)
    else:  # every class has a single image
        count = min(folds, len(targets))
        splitter = KFold(count, shuffle=True, random_state=seed)
    return _split(splitter, targets, "stratified")


def _split(
    splitter: Any, targets: NDArray[np.int64], kind: str, groups: Sequence[str] | None = None
) -> Folds:
    assignment = np.empty_like(targets)
    with warnings.catch_warnings():
        # scikit-learn warns about classes with fewer images than folds, which are expected here.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(targets, targets, groups)):
            assignment[held_out] = fold
    names = tuple(f"fold {number + 1}" for number in range(splitter.get_n_splits()))
    return Folds(assignment, names, kind)
