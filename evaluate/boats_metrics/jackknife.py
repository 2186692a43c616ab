"""Confidence intervals and tests for images that come in groups, such as those of one day.

Images of one group resemble each other, so the groups are the independent units: a metric is
computed again without each group, and its variance follows from these values (jackknife, Tukey
1958, Ann Math Statist 29:614; for clusters "CV3" in MacKinnon, Nielsen and Webb 2023,
https://arxiv.org/abs/2301.04527). Quantiles are those of Student's t. Groups of unequal size count
as fewer: the degrees of freedom are the effective number of groups, 1 / sum of the squared shares
of images (Kish 1965, "Survey Sampling"; Carter, Schnepel and Steigerwald 2017, Rev Econ Statist
99:698), minus 1. Shares are transformed by the logit (Korn and Graubard 1998, Survey Methodology
24:193).

The percentile bootstrap over groups is too narrow with few groups: `tests/metrics/test_coverage.py`
measures both on simulated days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtr, stdtrit

Interval = tuple[float, float]
"""Lower and upper bound of a 95% confidence interval."""

Groups = Sequence[str] | NDArray[np.int64]
"""Name or number of the group of each of N images."""

MIN_GROUPS = 5
"""Number of groups below which intervals are marked: few groups tell little about others."""

LEVEL = 0.975
"""Quantile of the upper bound of an interval."""


@dataclass(frozen=True)
class Jackknife:
    """Value of a statistic and its values without each group.

    Attributes:
        value: Value on all images.
        left_out: (G,) float64, value without each group; G is at least 2.
        sizes: (G,) int64, number of images of each group.
    """

    value: float
    left_out: NDArray[np.float64]
    sizes: NDArray[np.int64]

    @cached_property
    def degrees(self) -> float:
        """Degrees of freedom: effective number of groups minus 1, above 0."""
        shares = self.sizes / self.sizes.sum()
        return float(1 / np.sum(shares**2) - 1)

    @cached_property
    def standard_error(self) -> float:
        """Standard error of the value."""
        return _standard_error(self.value, self.left_out)

    def share_interval(self) -> Interval:
        """Return the 95% interval of a share, 0 to 1.

        Half an image is added to the correct and to the incorrect ones, so that the logit of 0 and
        1 is finite (Haldane 1956, Ann Hum Genet 20:309).
        """
        total = int(self.sizes.sum())
        center = float(logit((self.value * total + 0.5) / (total + 1)))
        rest = total - self.sizes
        values = logit((self.left_out * rest + 0.5) / (rest + 1))
        width = self._multiply_quantile(_standard_error(center, values))
        lower, upper = float(expit(center - width)), float(expit(center + width))
        return min(lower, self.value), max(upper, self.value)

    def difference_interval(self) -> Interval:
        """Return the 95% interval of a difference, -1 to 1."""
        width = self._multiply_quantile(self.standard_error)
        return max(-1.0, self.value - width), min(1.0, self.value + width)

    def p_below(self, value: float) -> float:
        """Return the p-value of the hypothesis that the statistic is at least `value`."""
        if self.standard_error == 0:
            return float(self.value >= value)
        return float(stdtr(self.degrees, (self.value - value) / self.standard_error))

    def p_above(self, value: float) -> float:
        """Return the p-value of the hypothesis that the statistic is at most `value`."""
        if self.standard_error == 0:
            return float(self.value <= value)
        return float(stdtr(self.degrees, (value - self.value) / self.standard_error))

    def _multiply_quantile(self, error: float) -> float:
        return float(stdtrit(self.degrees, LEVEL)) * error if error else 0.0


def _standard_error(value: float, left_out: NDArray[np.float64]) -> float:
    groups = len(left_out)
    error = float(np.sqrt((groups - 1) / groups * np.sum((left_out - value) ** 2)))
    return error if error > 1e-12 else 0.0  # rounding


def index_groups(groups: Groups) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of the group of each image, (N,), and the number of images of each, (G,)."""
    _, indices, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return indices, sizes


def combine(group_interval: Interval, image_interval: Interval) -> Interval:
    """Return the smallest interval that contains both.

    Groups that agree by chance must not make an interval narrower than independent images would.
    """
    return min(group_interval[0], image_interval[0]), max(group_interval[1], image_interval[1])


def describe_intervals(unit: str, groups: int | None) -> str:
    """Return what intervals and tests take as independent, as a phrase.

    Args:
        unit: `groups` or `images`.
        groups: Number of groups; None if the images have no groups.
    """
    if unit == "groups" and groups is not None:
        few = f"; fewer than {MIN_GROUPS} say little about others" if groups < MIN_GROUPS else ""
        return f"over {groups} groups of images{few}"
    if groups == 1:
        return "over images of a single group: too narrow for other groups"
    return "over images without groups: too narrow if the images resemble each other"
