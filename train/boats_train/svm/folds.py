"""Which photos are held out together: groups from the file names, folds from the groups.

Neighbouring frames of one day in both halves flatter a classifier. Where the file names carry a
date, whole days are held out; otherwise photos are dealt out class by class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.groups import find_groups

MAX_FOLDS = 10
"""More groups than this are dealt into this many folds, to bound the time."""

STRATIFIED_FOLDS = 5

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of the photos learned from, and of those held out."""


@dataclass(frozen=True)
class Folds:
    """A partition of photos for cross-validation.

    Attributes:
        assigned: Each photo's fold `(N,) int64`, 0 to F-1.
        names: What each fold holds out, F of them: a group's name, or `fold 1`.
        kind: `leave-one-group-out`, `grouped` or `stratified`.
    """

    assigned: NDArray[np.int64]
    names: tuple[str, ...]
    kind: str

    def strict(self) -> list[Fold]:
        """Returns the folds for measuring: nothing held out is learned from."""
        held = [self.assigned == fold for fold in range(len(self.names))]
        return [(np.flatnonzero(~mask), np.flatnonzero(mask)) for mask in held]

    def with_every_class(self, targets: NDArray[np.int64]) -> list[Fold]:
        """Returns the folds for calibration: every class is always among the photos learned from.

        A class all of whose photos are held out together has no others to learn from: they stay
        among the photos learned from, too, and their scores are flattered.

        Args:
            targets: Class indices `(N,) int64`.
        """
        pairs = []
        for learned, held in self.strict():
            lost = np.setdiff1d(targets[held], targets[learned])
            again = held[np.isin(targets[held], lost)]
            pairs.append((np.sort(np.concatenate([learned, again])), held))
        return pairs


def make_folds(
    paths: Sequence[Path], targets: NDArray[np.int64], pattern: str | None, seed: int
) -> Folds:
    """Deals photos into folds.

    Args:
        paths: The photos, N of them.
        targets: Class indices `(N,) int64`.
        pattern: Regular expression on the file name; its first group, or the whole match, is the
            photo's group. None looks for a date and does without where there is none. Groups that
            leave only one class to learn from are done without, too.
        seed: Shuffles the photos within their classes where there are no groups.

    Raises:
        UsageError: The pattern is not a regular expression, or does not match every file name.
    """
    groups = find_groups(paths, pattern)
    if groups is not None and len(set(groups)) > 1:
        folds = _from_groups(groups)
        if all(len(np.unique(targets[learned])) > 1 for learned, _ in folds.strict()):
            return folds
    count = min(STRATIFIED_FOLDS, len(targets))
    names = tuple(f"fold {number + 1}" for number in range(count))
    return Folds(_deal(targets, count, seed), names, "stratified")


def _from_groups(groups: Sequence[str]) -> Folds:
    names, index = np.unique(groups, return_inverse=True)
    if len(names) <= MAX_FOLDS:
        labels = tuple(str(name) for name in names)
        return Folds(index.astype(np.int64), labels, "leave-one-group-out")
    # The largest groups first, each into the fold that holds the fewest photos so far.
    sizes = np.bincount(index)
    load = np.zeros(MAX_FOLDS, dtype=np.int64)
    fold_of = np.empty(len(names), dtype=np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        fold_of[group] = np.argmin(load)
        load[fold_of[group]] += sizes[group]
    return Folds(fold_of[index], tuple(f"fold {n + 1}" for n in range(MAX_FOLDS)), "grouped")


def _deal(targets: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Deals photos like cards, class by class, so that each class is spread over the folds."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(targets)), targets))
    assigned = np.empty(len(targets), dtype=np.int64)
    assigned[order] = np.arange(len(targets)) % folds
    return assigned
