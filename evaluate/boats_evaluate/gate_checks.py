"""Checks of the deployment gate: accuracy, macro-F1 and the recall of each class."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.file_metrics import MIN_SUPPORT
from boats_metrics.jackknife import MIN_GROUPS
from boats_metrics.noninferiority import (
    Loss,
    MetricLoss,
    bound_loss,
    find_min_images,
    measure_accuracy_loss,
)
from boats_metrics.paired import correct_holm, mcnemar_test, measure_changes

MAX_DROP = 0.5
"""Allowed drop of accuracy and recall, in percentage points; macro-F1 may drop twice as much."""

SIGNIFICANCE = 0.05
"""Significance level of the tests."""

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class GateCheck:
    """Comparison of one metric with the baseline.

    Attributes:
        name: `accuracy`, `macro-F1`, or `recall of` a class.
        before: Value of the baseline, 0 to 1.
        after: Value of the evaluated file, 0 to 1.
        allowed_drop: Allowed drop in percentage points.
        loss: Smallest and largest loss in percentage points that the images do not exclude, each a
            one-sided bound at the significance level; negative for a gain.
        p_worse: One-sided p-value; small if the evaluated file is worse.
        images: Number of images that are compared.
        verdict: `pass`, `fail` or `inconclusive`; `untested` for the recall of a class that has
            too few images or groups to exclude a loss above the allowed one.
        refused: Whether the drop is larger than allowed and significant.
    """

    name: str
    before: float
    after: float
    allowed_drop: float
    loss: tuple[float, float]
    p_worse: float
    images: int
    verdict: Verdict | Literal["untested"]
    refused: bool

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "allowed": self.allowed_drop,
            "p_worse": self.p_worse,
            "photos": self.images,
            "refused": self.refused,
            "verdict": self.verdict,
            "loss": self.loss,
        }


@dataclass(frozen=True)
class _Comparison:
    """One metric before its verdict.

    Attributes:
        unchanged: Whether nothing is lost, which passes without a test.
        required: Whether the check can make the gate inconclusive.
        p_worse: p-values of the hypothesis of no loss; groups count.
        p_images: The same for independent images.
    """

    name: str
    before: float
    after: float
    allowed_drop: float
    images: int
    loss: Loss
    unchanged: bool
    required: bool
    p_worse: float
    p_images: float


@dataclass(frozen=True)
class GateTests:
    """Tests of a gate: accuracy, macro-F1 and the recall of each class with `MIN_SUPPORT` images.

    A check fails if a loss above the allowed one is shown at the significance level, corrected for
    all tests (Holm). It passes if such a loss is excluded, or if nothing is lost. The gate passes
    only if every required check does, so these tests need no correction (intersection-union test,
    Berger 1982, Technometrics 24:295).
    """

    targets: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    max_drop: float
    significance: float

    def run(self, labels: tuple[str, ...]) -> tuple[GateCheck, ...]:
        """Return the checks."""
        recalls = [
            self._compare_correct(f"recall of {label}", self.targets == index)
            for index, label in enumerate(labels)
            if np.sum(self.targets == index) >= MIN_SUPPORT
        ]
        p_worse = correct_holm([recall.p_worse for recall in recalls])
        p_images = correct_holm([recall.p_images for recall in recalls])
        recalls = [
            replace(recall, p_worse=p, p_images=q)
            for recall, p, q in zip(recalls, p_worse, p_images, strict=True)
        ]
        everything = np.ones(len(self.targets), dtype=np.bool_)
        accuracy = replace(self._compare_correct("accuracy", everything), required=True)
        comparisons = [accuracy, self._compare_macro_f1(accuracy), *recalls]
        p_fail = correct_holm([row.loss.p_at_most(row.allowed_drop / 100) for row in comparisons])
        return tuple(self._decide(row, p) for row, p in zip(comparisons, p_fail, strict=True))

    def _compare_correct(self, name: str, rows: NDArray[np.bool_]) -> _Comparison:
        """Compare the share of correct predictions of some images, (N,) bool."""
        first, second = ((p == self.targets)[rows] for p in (self.before, self.after))
        enough = len(first) >= find_min_images(self.max_drop / 100, self.significance)
        groups = None
        if self.groups is not None:
            groups = self.groups[rows]
            if self.groups.max() > 0:  # several groups
                enough = enough and len(np.unique(groups)) >= MIN_GROUPS
        loss = measure_accuracy_loss(first, second, groups)
        p_images = mcnemar_test(first, second).p_worse
        p_groups = loss.jackknife.p_below(0) if loss.jackknife else 0.0
        return _Comparison(
            name=name,
            before=float(first.mean()),
            after=float(second.mean()),
            allowed_drop=self.max_drop,
            images=len(first),
            loss=loss,
            unchanged=loss.lost == 0,
            required=enough,
            p_worse=max(p_images, p_groups),
            p_images=p_images,
        )

    def _compare_macro_f1(self, accuracy: _Comparison) -> _Comparison:
        changes = measure_changes(self.targets, self.before, self.after, groups=self.groups)
        change = changes.macro_f1
        return replace(
            accuracy,
            name="macro-F1",
            before=changes.macro_f1_before,
            after=changes.macro_f1_before + change.value,
            allowed_drop=2 * self.max_drop,
            loss=MetricLoss(change),
            unchanged=accuracy.unchanged and change.value >= 0,
            p_worse=change.p_below(0),
            p_images=replace(change, jackknife=None).p_below(0),
        )

    def _decide(self, row: _Comparison, p_fail: float) -> GateCheck:
        smallest, largest = bound_loss(row.loss, self.significance)
        drop = 100 * (row.before - row.after)
        exceeds = drop > row.allowed_drop + 1e-9
        # Also where groups or the correction make the loss uncertain: it must not pass unnoticed.
        suspicious = exceeds and row.p_images < self.significance
        verdict: Verdict | Literal["untested"] = "inconclusive"
        if exceeds and p_fail < self.significance:
            verdict = "fail"
        elif row.unchanged or (row.required and not exceeds and 100 * largest <= row.allowed_drop):
            verdict = "pass"
        elif not row.required and not suspicious:
            verdict = "untested"
        return GateCheck(
            name=row.name,
            before=row.before,
            after=row.after,
            allowed_drop=row.allowed_drop,
            loss=(100 * smallest, 100 * largest),
            p_worse=row.p_worse,
            images=row.images,
            verdict=verdict,
            refused=verdict == "fail" or suspicious,
        )
