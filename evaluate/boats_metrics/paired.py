"""Paired comparison of two models on the same images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from boats_metrics.classification import DRAWS, percentile_interval
from boats_metrics.counts import ACCURACY, MACRO_F1, count_predictions
from boats_metrics.jackknife import Groups, Interval, Jackknife, combine, index_groups

ClassIndices = NDArray[np.int64]


@dataclass(frozen=True)
class McNemarResult:
    """Result of McNemar's test of two models.

    Attributes:
        lost: Number of images that only the first model predicts correctly.
        won: Number of images that only the second model predicts correctly.
        p_two_sided: p-value of the hypothesis that both are equally accurate.
        p_worse: One-sided p-value; small if the second model is worse.
    """

    lost: int
    won: int
    p_two_sided: float
    p_worse: float


def mcnemar_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemarResult:
    """Test whether two models are equally accurate on the same images.

    The exact test of McNemar 1947 (Psychometrika 12:153): images that only one model predicts
    correctly favor either model with probability 1/2 (Fagerland, Lydersen and Laake 2013, BMC Med
    Res Methodol 13:91).

    Args:
        first: (N,) bool, whether each prediction of the first model is correct.
        second: (N,) bool, whether each prediction of the second model is correct.
    """
    lost, won = int(np.sum(first & ~second)), int(np.sum(~first & second))
    trials = max(lost + won, 1)  # binomtest needs at least 1; both p-values are then 1
    p_two_sided = float(binomtest(lost, trials).pvalue)
    p_worse = float(binomtest(lost, trials, alternative="greater").pvalue)
    return McNemarResult(lost, won, p_two_sided, p_worse)


@dataclass(frozen=True)
class Change:
    """Change of a metric from a first model to a second one on the same images.

    Attributes:
        value: Change, -1 to 1.
        samples: (D,) float64, changes on bootstrap samples of images.
        jackknife: Changes without each group; None with fewer than two groups.
    """

    value: float
    samples: NDArray[np.float64]
    jackknife: Jackknife | None

    @property
    def interval(self) -> Interval:
        """95% confidence interval."""
        interval = percentile_interval(self.samples)
        return (
            combine(self.jackknife.difference_interval(), interval) if self.jackknife else interval
        )

    def p_below(self, value: float) -> float:
        """Return the p-value of the hypothesis that the change is at least `value`."""
        p_images = _share(self.samples >= value)
        return max(p_images, self.jackknife.p_below(value)) if self.jackknife else p_images

    def p_above(self, value: float) -> float:
        """Return the p-value of the hypothesis that the change is at most `value`."""
        p_images = _share(self.samples <= value)
        return max(p_images, self.jackknife.p_above(value)) if self.jackknife else p_images


def _share(extreme: NDArray[np.bool_]) -> float:
    # Adding 1 to both counts keeps p above 0 (Davison and Hinkley 1997, section 4.2).
    return (int(extreme.sum()) + 1) / (len(extreme) + 1)


@dataclass(frozen=True)
class Changes:
    """Changes of accuracy and macro-F1, and the macro-F1 of the first model, 0 to 1."""

    accuracy: Change
    macro_f1: Change
    macro_f1_before: float


def measure_changes(
    targets: ClassIndices,
    first: ClassIndices,
    second: ClassIndices,
    seed: int = 0,
    groups: Groups | None = None,
) -> Changes:
    """Measure the changes from a first model to a second one; arguments as in `compare_paired`."""
    counts, cells = count_predictions(targets, first, second)
    values, samples = counts.compute(), counts.bootstrap(DRAWS, seed)
    left_out = sizes = None
    if groups is not None:
        indices, sizes = index_groups(groups)
        left_out = counts.leave_one_out(cells, indices) if len(sizes) > 1 else None

    def measure(metric: int) -> Change:
        value = float(values[1, metric] - values[0, metric])
        jackknife = None
        if left_out is not None and sizes is not None:
            jackknife = Jackknife(value, left_out[:, 1, metric] - left_out[:, 0, metric], sizes)
        return Change(value, samples[:, 1, metric] - samples[:, 0, metric], jackknife)

    return Changes(measure(ACCURACY), measure(MACRO_F1), float(values[0, MACRO_F1]))


@dataclass(frozen=True)
class PairedComparison(McNemarResult):
    """Differences of a second model from a first one, and tests.

    With groups, the p-values are the larger one of McNemar's test and of the jackknife over groups.

    Attributes:
        accuracy: Difference of the accuracies, -1 to 1, with `accuracy_interval`.
        macro_f1: Difference of the macro-F1, -1 to 1, with `macro_f1_interval`.
        macro_f1_before: Macro-F1 of the first model, 0 to 1.
        p_macro_f1_worse: p-value; small if the macro-F1 of the second model is worse.
        interval_unit: What is taken as independent: `groups`, or `images` with fewer than two
            groups.
        interval_groups: Number of groups; None if the images have no groups.
    """

    accuracy: float
    accuracy_interval: Interval
    macro_f1_before: float
    macro_f1: float
    macro_f1_interval: Interval
    p_macro_f1_worse: float
    interval_unit: str = "images"
    interval_groups: int | None = None


def compare_paired(
    targets: ClassIndices,
    first: ClassIndices,
    second: ClassIndices,
    seed: int = 0,
    groups: Groups | None = None,
) -> PairedComparison:
    """Compare two models on the same images.

    Intervals are computed by the paired bootstrap: each sample holds the same images for both
    models (Koehn 2004, https://aclanthology.org/W04-3250/). With groups they are widened to those
    of the paired jackknife over groups, see `boats_metrics.jackknife`.

    Args:
        targets: (N,) int64, true class indices; N is at least 1.
        first: (N,) int64, class indices that the first model predicts.
        second: (N,) int64, class indices that the second model predicts.
        seed: Seed for the random draws.
        groups: N groups of images that resemble each other, such as those of one day.
    """
    test = mcnemar_test(first == targets, second == targets)
    changes = measure_changes(targets, first, second, seed, groups)
    jackknife = changes.accuracy.jackknife
    if jackknife:
        p_worse, p_better = jackknife.p_below(0), jackknife.p_above(0)
        test = replace(
            test,
            p_worse=max(test.p_worse, p_worse),
            p_two_sided=max(test.p_two_sided, min(1.0, 2 * min(p_worse, p_better))),
        )
    return PairedComparison(
        **asdict(test),
        accuracy=changes.accuracy.value,
        accuracy_interval=changes.accuracy.interval,
        macro_f1_before=changes.macro_f1_before,
        macro_f1=changes.macro_f1.value,
        macro_f1_interval=changes.macro_f1.interval,
        p_macro_f1_worse=changes.macro_f1.p_below(0),
        interval_unit="groups" if jackknife else "images",
        interval_groups=None if groups is None else len(np.unique(np.asarray(groups))),
    )


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing, in their order (Holm 1979, Scand J Statist 6:65)."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(np.minimum(1, np.asarray(p_values)[order] * factors))
    return list(map(float, corrected))
