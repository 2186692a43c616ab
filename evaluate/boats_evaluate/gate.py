"""The gate of a pipeline: is a file worse than an earlier one, beyond the noise?

A file is refused where a number falls by more than is allowed and a paired test on the same
photos says that it is not by chance: accuracy by McNemar's test, macro-F1 by a paired bootstrap,
the recall of each class that has enough photos by McNemar's test, corrected by Holm for the number
of classes.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.file_metrics import CLAIMABLE
from boats_evaluate.results import Baseline
from boats_metrics.paired import bootstrap_difference, correct_holm, mcnemar_test
from boats_runtime.errors import CheckError, DataError

MAX_DROP = 0.5
"""Points of accuracy, and of a class's recall, that may be lost; of macro-F1, twice as many."""

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Check:
    """One number against that of the baseline.

    Attributes:
        name: `accuracy`, `macro-F1`, or `recall of` a class.
        before: Of the baseline, 0 to 1.
        after: Of the file, 0 to 1.
        allowed: Points that may be lost.
        p_worse: One-sided: small where the file is worse.
        photos: That were compared.
        refused: Whether more is lost than is allowed, and not by chance.
    """

    name: str
    before: float
    after: float
    allowed: float
    p_worse: float
    photos: int
    refused: bool

    def __str__(self) -> str:
        """Returns it as words."""
        return f"{self.name} {self.after:.3f} instead of {self.before:.3f} (p {self.p_worse:.2g})"


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        baseline: The file that was judged then.
        photos: That both were asked about.
        only_now: Photos that the baseline lacks.
        only_then: Photos of the baseline that are not there now.
        checks: Accuracy, macro-F1, then each class with enough photos.
        too_few: Classes that have photos, but too few to be checked.
    """

    baseline: str
    photos: int
    only_now: int
    only_then: int
    checks: tuple[Check, ...]
    too_few: tuple[str, ...]

    @property
    def refused(self) -> tuple[Check, ...]:
        """The checks that refuse the file."""
        return tuple(check for check in self.checks if check.refused)

    def to_json(self) -> dict[str, Any]:
        """Returns the attributes, and `passed`, as JSON values."""
        return asdict(self) | {"passed": not self.refused}


def hold_against(
    evaluation: Evaluation, baseline: Baseline, max_drop: float, significance: float
) -> Verdict:
    """Compares the judged file with a baseline on the photos that both were asked about.

    Photos are the same where their files' digests are; what is true is what the folders say now.

    Args:
        evaluation: Of the file.
        baseline: An earlier result.
        max_drop: Points of accuracy and of a class's recall that may be lost, 0 to 100; of macro-F1
            twice as many.
        significance: A test below it is not by chance, 0 to 1.

    Raises:
        DataError: The labels are others, or no photo is the same.
    """
    labels = evaluation.labels
    if set(labels) != set(baseline.labels):
        differing = sorted(set(labels) ^ set(baseline.labels))
        raise DataError(
            f"the baseline is of other labels: {', '.join(differing[:3])}"
            f"{'...' if differing[3:] else ''} only on one side; make a new baseline"
        )
    common = np.array([digest in baseline.predicted for digest in evaluation.digests])
    if not common.any():
        raise DataError(
            f"the baseline is of other photos: none of its {len(baseline.predicted)} is in "
            f"{evaluation.folder}; make a new baseline"
        )
    before = np.array(
        [
            labels.index(baseline.predicted[digest])
            for digest, there in zip(evaluation.digests, common, strict=True)
            if there
        ],
        dtype=np.int64,
    )
    targets = evaluation.targets[common]
    after = evaluation.main.answers.predicted[common]
    support = np.bincount(targets, minlength=len(labels))
    limits = (max_drop, significance)
    return Verdict(
        baseline.file,
        int(common.sum()),
        int((~common).sum()),
        len(set(baseline.predicted) - set(evaluation.digests)),
        (
            *_check_all(targets, before, after, limits),
            *_check_classes(labels, targets, before, after, limits),
        ),
        tuple(labels[index] for index in np.flatnonzero((support > 0) & (support < CLAIMABLE))),
    )


def require_passed(verdict: Verdict, significance: float) -> None:
    """Lets a file through that the gate does not refuse.

    Raises:
        CheckError: It is worse; says where.
    """
    if verdict.refused:
        raise CheckError(
            f"refused, worse than {verdict.baseline} on the same {verdict.photos} photos, and not "
            f"by chance (p under {significance:g}): {'; '.join(map(str, verdict.refused))}"
        )


def _check_all(
    targets: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    limits: tuple[float, float],
) -> Iterator[Check]:
    pairing = mcnemar_test(before == targets, after == targets)
    shares = float(np.mean(before == targets)), float(np.mean(after == targets))
    max_drop, significance = limits
    yield _check("accuracy", shares, max_drop, pairing.p_worse, significance, len(targets))
    change = bootstrap_difference(targets, before, after)
    shares = change.macro_f1_before, change.macro_f1_before + change.macro_f1
    p = change.p_macro_f1_worse
    yield _check("macro-F1", shares, 2 * max_drop, p, significance, len(targets))


def _check_classes(
    labels: tuple[str, ...],
    targets: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    limits: tuple[float, float],
) -> list[Check]:
    rows = []
    for index, label in enumerate(labels):
        inside = targets == index
        if inside.sum() < CLAIMABLE:
            continue
        was, is_now = before[inside] == index, after[inside] == index
        shares = float(was.mean()), float(is_now.mean())
        rows.append((label, shares, mcnemar_test(was, is_now).p_worse, int(inside.sum())))
    corrected = correct_holm([p for _, _, p, _ in rows])
    max_drop, significance = limits
    return [
        _check(f"recall of {label}", shares, max_drop, p, significance, photos)
        for (label, shares, _, photos), p in zip(rows, corrected, strict=True)
    ]


def _check(
    name: str,
    shares: tuple[float, float],
    allowed: float,
    p_worse: float,
    significance: float,
    photos: int,
) -> Check:
    before, after = shares
    too_much = 100 * (before - after) > allowed + 1e-9
    refused = too_much and p_worse < significance
    return Check(name, before, after, allowed, p_worse, photos, refused)
