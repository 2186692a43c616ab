"""Deployment gate: reject a model that is significantly worse than a baseline."""

from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.file_metrics import MIN_SUPPORT
from boats_evaluate.results import Baseline
from boats_metrics.paired import compare_paired, correct_holm, mcnemar_test
from boats_runtime.errors import CheckError, DataError

MAX_DROP = 0.5
"""Allowed drop of accuracy and recall, in percentage points; macro-F1 may drop twice as much."""

SIGNIFICANCE = 0.05
"""Significance level of the tests."""


@dataclass(frozen=True)
class GateCheck:
    """Comparison of one metric with the baseline.

    Attributes:
        name: `accuracy`, `macro-F1`, or `recall of` a class.
        before: Value of the baseline, 0 to 1.
        after: Value of the evaluated file, 0 to 1.
        allowed_drop: Allowed drop in percentage points.
        p_worse: One-sided p-value; small if the evaluated file is worse.
        images: Number of images that are compared.
        significance: Significance level, 0 to 1.
    """

    name: str
    before: float
    after: float
    allowed_drop: float
    p_worse: float
    images: int
    significance: float

    @property
    def failed(self) -> bool:
        """Whether the drop is larger than allowed and significant."""
        drop = 100 * (self.before - self.after)
        return drop > self.allowed_drop + 1e-9 and self.p_worse < self.significance

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "allowed": self.allowed_drop,
            "p_worse": self.p_worse,
            "photos": self.images,
            "refused": self.failed,
        }


@dataclass(frozen=True)
class GateResult:
    """Comparison of the evaluated file with a baseline.

    Attributes:
        images: Number of images that both evaluations have.
        only_evaluated: Number of images that the baseline does not have.
        only_baseline: Number of images that only the baseline has.
        checks: Accuracy, macro-F1, then the recall of each class with enough images.
        unchecked: Classes with too few images for a check.
    """

    baseline: str
    images: int
    only_evaluated: int
    only_baseline: int
    checks: tuple[GateCheck, ...]
    unchecked: tuple[str, ...]

    @property
    def failures(self) -> tuple[GateCheck, ...]:
        """Checks that failed."""
        return tuple(check for check in self.checks if check.failed)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "baseline": self.baseline,
            "photos": self.images,
            "only_now": self.only_evaluated,
            "only_then": self.only_baseline,
            "checks": [check.to_json() for check in self.checks],
            "too_few": self.unchecked,
            "passed": not self.failures,
        }


def compare_to_baseline(
    evaluation: Evaluation,
    baseline: Baseline,
    max_drop: float = MAX_DROP,
    significance: float = SIGNIFICANCE,
) -> GateResult:
    """Compare the evaluated file with a baseline on the images that both evaluations have.

    The paired tests are McNemar's test for the accuracy and for the recall of each class, corrected
    for the number of classes, and the bootstrap for macro-F1. Images are identified by the digest
    of their file; labels are taken from the evaluation. `max_drop` is in percentage points, as
    `MAX_DROP`.

    Raises:
        DataError: If the labels differ or the evaluations have no image in common.
    """
    labels = evaluation.labels
    if mismatch := sorted(set(labels) ^ set(baseline.labels)):
        raise DataError(
            f"the baseline has different labels: {', '.join(mismatch[:3])}"
            f"{'...' if mismatch[3:] else ''} in only one of them; create a new baseline"
        )
    digests = [image.digest for image in evaluation.images]
    common = np.array([digest in baseline.predicted for digest in digests])
    if not common.any():
        raise DataError(
            f"the baseline has different images: none of its {len(baseline.predicted)} images is "
            f"in {evaluation.folder}; create a new baseline"
        )
    before = np.array(
        [labels.index(baseline.predicted[digest]) for digest in compress(digests, common)]
    )
    after = evaluation.main.predictions.predicted[common]
    targets = evaluation.targets[common]
    support = np.bincount(targets, minlength=len(labels))

    def check(
        name: str, correct_before: NDArray[np.bool_], correct_after: NDArray[np.bool_]
    ) -> GateCheck:
        shares = float(correct_before.mean()), float(correct_after.mean())
        p_worse = mcnemar_test(correct_before, correct_after).p_worse
        return GateCheck(name, *shares, max_drop, p_worse, len(correct_before), significance)

    comparison = compare_paired(targets, before, after)
    f1 = comparison.macro_f1_before, comparison.macro_f1_before + comparison.macro_f1
    p_f1 = comparison.p_macro_f1_worse
    recalls = [
        check(f"recall of {label}", before[rows] == index, after[rows] == index)
        for index, label in enumerate(labels)
        if (rows := targets == index).sum() >= MIN_SUPPORT
    ]
    corrected = correct_holm([recall.p_worse for recall in recalls])
    return GateResult(
        baseline=baseline.file,
        images=len(targets),
        only_evaluated=int((~common).sum()),
        only_baseline=len(set(baseline.predicted) - set(digests)),
        checks=(
            check("accuracy", before == targets, after == targets),
            GateCheck("macro-F1", *f1, 2 * max_drop, p_f1, len(targets), significance),
            *(replace(row, p_worse=p) for row, p in zip(recalls, corrected, strict=True)),
        ),
        unchecked=tuple(labels[i] for i in np.flatnonzero((support > 0) & (support < MIN_SUPPORT))),
    )


def require_passed(result: GateResult) -> None:
    """Check that the file is not worse than the baseline.

    Raises:
        CheckError: If a check failed.
    """
    drops = [
        f"{check.name} {check.after:.3f} instead of {check.before:.3f} (p {check.p_worse:.2g})"
        for check in result.failures
    ]
    if drops:
        raise CheckError(
            f"refused: worse than {result.baseline} on the same {result.images} images "
            f"(p < {result.failures[0].significance:g}): {'; '.join(drops)}"
        )
