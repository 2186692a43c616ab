"""Deployment gate: accept a model only if it is shown not to be worse than a baseline.

A non-inferiority test with three verdicts, see `docs/explanation/evaluation.md`.
"""

from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.file_metrics import MIN_SUPPORT
from boats_evaluate.gate_checks import MAX_DROP, SIGNIFICANCE, GateCheck, GateTests, Verdict
from boats_evaluate.results import Baseline
from boats_runtime.errors import CheckError, DataError


@dataclass(frozen=True)
class GateResult:
    """Comparison of the evaluated file with a baseline.

    Attributes:
        images: Number of images that both evaluations have.
        only_evaluated: Number of images that the baseline does not have.
        only_baseline: Number of images that only the baseline has.
        checks: Accuracy, macro-F1, then the recall of each class with enough images.
        unchecked: Classes with too few images for a check.
        significance: Significance level, 0 to 1.
        groups: Number of groups of the images; None without groups.
    """

    baseline: str
    images: int
    only_evaluated: int
    only_baseline: int
    checks: tuple[GateCheck, ...]
    unchecked: tuple[str, ...]
    significance: float = SIGNIFICANCE
    groups: int | None = None

    @property
    def unit(self) -> str:
        """What is taken as independent: `groups`, or `images` with fewer than two groups."""
        return "groups" if self.groups and self.groups > 1 else "images"

    @property
    def verdict(self) -> Verdict:
        """Verdict: `fail` if a check failed, else `inconclusive` if one is, else `pass`."""
        verdicts = {check.verdict for check in self.checks}
        if "fail" in verdicts:
            return "fail"
        return "inconclusive" if "inconclusive" in verdicts else "pass"

    def select(self, verdict: str) -> tuple[GateCheck, ...]:
        """Return the checks with a verdict."""
        return tuple(check for check in self.checks if check.verdict == verdict)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "baseline": self.baseline,
            "photos": self.images,
            "only_now": self.only_evaluated,
            "only_then": self.only_baseline,
            "checks": [check.to_json() for check in self.checks],
            "too_few": self.unchecked,
            "passed": self.verdict == "pass",
            "verdict": self.verdict,
            "significance": self.significance,
            "interval_unit": self.unit,
            "interval_groups": self.groups,
        }


def compare_to_baseline(
    evaluation: Evaluation,
    baseline: Baseline,
    max_drop: float = MAX_DROP,
    significance: float = SIGNIFICANCE,
) -> GateResult:
    """Compare the evaluated file with a baseline on the images that both evaluations have.

    Images are identified by the digest of their file; labels are taken from the evaluation.
    `max_drop` is in percentage points, as `MAX_DROP`.

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
    groups = None
    if evaluation.image_groups is not None:
        groups = np.unique(evaluation.image_groups[common], return_inverse=True)[1]
    support = np.bincount(targets, minlength=len(labels))
    tests = GateTests(targets, before, after, groups, max_drop, significance)
    return GateResult(
        baseline=baseline.file,
        images=len(targets),
        only_evaluated=int((~common).sum()),
        only_baseline=len(set(baseline.predicted) - set(digests)),
        checks=tests.run(labels),
        unchecked=tuple(labels[i] for i in np.flatnonzero((support > 0) & (support < MIN_SUPPORT))),
        significance=significance,
        groups=None if groups is None else int(groups.max()) + 1,
    )


def require_passed(result: GateResult, *, allow_inconclusive: bool = False) -> None:
    """Check that the file is shown not to be worse than the baseline.

    Args:
        result: Result of `compare_to_baseline`.
        allow_inconclusive: Whether images that cannot decide are enough.

    Raises:
        CheckError: If the verdict is `fail`, or `inconclusive` and that is not allowed.
    """
    if result.verdict == "fail":
        drops = [
            f"{check.name} {check.after:.3f} instead of {check.before:.3f} (at least "
            f"{check.loss[0]:.1f} points lost, {check.allowed_drop:g} allowed)"
            for check in result.select("fail")
        ]
        raise CheckError(
            f"refused: worse than {result.baseline} on the same {result.images} images "
            f"(p < {result.significance:g}): {'; '.join(drops)}"
        )
    if result.verdict == "inconclusive" and not allow_inconclusive:
        drops = [
            f"{check.name} {check.after:.3f} instead of {check.before:.3f} (up to "
            f"{check.loss[1]:.1f} points may be lost, {check.allowed_drop:g} allowed)"
            for check in result.select("inconclusive")
        ]
        raise CheckError(
            f"inconclusive: the {result.images} images do not show that this is not worse than "
            f"{result.baseline}: {'; '.join(drops)}; use more images, allow more with --max-drop, "
            "or accept this with --allow-inconclusive"
        )
