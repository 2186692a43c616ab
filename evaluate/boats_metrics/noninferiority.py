"""Tests whether a second model loses more than a margin compared with a first one.

Two hypotheses are tested: that the loss is at least the margin (rejected: non-inferior) and that it
is at most the margin (rejected: worse by more than the margin). If neither is rejected, the images
decide nothing (Piaggio et al. 2012, JAMA 308:2594, figure 1).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr

from boats_metrics.jackknife import Groups, Jackknife, index_groups
from boats_metrics.paired import Change

STEPS = 40
"""Bisection steps for a bound, to a precision far below one image."""


@dataclass(frozen=True)
class AccuracyLoss:
    """Loss of accuracy from a first model to a second one on the same images.

    Attributes:
        lost: Number of images that only the first model predicts correctly.
        won: Number of images that only the second model predicts correctly.
        images: Number of images.
        jackknife: Changes of the accuracy without each group; None with fewer than two groups.
    """

    lost: int
    won: int
    images: int
    jackknife: Jackknife | None = None

    def p_at_least(self, loss: float) -> float:
        """Return the p-value of the hypothesis that the loss is at least `loss`, -1 to 1."""
        return self._cumulate(self._score(loss))

    def p_at_most(self, loss: float) -> float:
        """Return the p-value of the hypothesis that the loss is at most `loss`, -1 to 1."""
        return self._cumulate(-self._score(loss))

    def _cumulate(self, score: float) -> float:
        if self.jackknife is None:
            return float(ndtr(score))
        return float(stdtr(self.jackknife.degrees, score / math.sqrt(self._design_effect)))

    @cached_property
    def _design_effect(self) -> float:
        """Variance over groups as a multiple of that of independent images, at least 1.

        Dividing the score statistic by its root is the correction of Rao and Scott 1984, Ann
        Statist 12:46.
        """
        change = (self.won - self.lost) / self.images
        variance = ((self.lost + self.won) / self.images - change**2) / self.images
        if self.jackknife is None or variance <= 0:
            return 1.0
        return max(1.0, self.jackknife.standard_error**2 / variance)

    def _score(self, loss: float) -> float:
        """Return the score statistic of a loss (Tango 1998, Stat Med 17:891)."""
        if abs(loss) >= 1:
            return -math.inf if loss > 0 else math.inf
        lost, won, images = self.lost, self.won, self.images
        a = 2 * images
        b = -lost - won + (2 * images - lost + won) * loss
        c = -won * loss * (1 - loss)
        share_won = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = images * (2 * share_won + loss * (1 - loss))
        difference = lost - won - images * loss
        if variance <= 0:
            return math.copysign(math.inf, difference) if difference else 0.0
        return difference / math.sqrt(variance)


@dataclass(frozen=True)
class MetricLoss:
    """Loss of another metric, from its change on bootstrap samples and without each group."""

    change: Change

    def p_at_least(self, loss: float) -> float:
        """Return the p-value of the hypothesis that the loss is at least `loss`."""
        return self.change.p_above(-loss)

    def p_at_most(self, loss: float) -> float:
        """Return the p-value of the hypothesis that the loss is at most `loss`."""
        return self.change.p_below(-loss)


Loss = AccuracyLoss | MetricLoss


def measure_accuracy_loss(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: Groups | None = None
) -> AccuracyLoss:
    """Measure the loss of accuracy.

    Args:
        first: (N,) bool, whether each prediction of the first model is correct; N is at least 1.
        second: (N,) bool, whether each prediction of the second model is correct.
        groups: N groups of images that resemble each other, such as those of one day.
    """
    lost, won = int(np.sum(first & ~second)), int(np.sum(~first & second))
    jackknife = None
    if groups is not None:
        indices, sizes = index_groups(groups)
        if len(sizes) > 1:
            changes = second.astype(np.float64) - first
            total, images = changes.sum(), len(changes)
            left_out = (total - np.bincount(indices, changes)) / (images - sizes)
            jackknife = Jackknife(float(total / images), left_out, sizes)
    return AccuracyLoss(lost, won, len(first), jackknife)


def bound_loss(loss: Loss, significance: float) -> tuple[float, float]:
    """Return the smallest and the largest loss that the images do not exclude.

    Each is a one-sided bound at the significance level, -1 to 1.
    """
    smallest = _bisect(lambda value: loss.p_at_most(value) >= significance)
    largest = _bisect(lambda value: loss.p_at_least(value) < significance)
    return smallest, largest


def _bisect(reached: Callable[[float], bool]) -> float:
    """Return the smallest value from -1 to 1 at which a monotone condition is true."""
    low, high = -1.0, 1.0
    if reached(low):
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def find_min_images(margin: float, significance: float) -> float:
    """Return the number of images below which the test cannot exclude a loss above the margin.

    Even if no prediction changed, the score statistic is then too small.

    Args:
        margin: Allowed loss of accuracy, 0 to 1; without a margin the result is infinite.
        significance: Significance level, 0 to 1.
    """
    if margin <= 0:
        return math.inf
    return math.ceil(float(ndtri(significance)) ** 2 * max(1 - margin, 0) / margin)
