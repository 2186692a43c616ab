import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from boats_metrics.noninferiority import (
    AccuracyLoss,
    MetricLoss,
    bound_loss,
    find_min_images,
    measure_accuracy_loss,
)
from boats_metrics.paired import Change


@pytest.mark.parametrize(
    ("lost", "won", "images", "margin"), [(12, 2, 100, 0.05), (0, 3, 80, 0.1), (5, 5, 395, 0.005)]
)
def test_p_at_least__score_test_by_maximum_likelihood(
    lost: int, won: int, images: int, margin: float
) -> None:
    # Tango 1998: the variance is that of the most likely probabilities with this loss.
    def log_likelihood(share: float) -> float:
        same = max(1 - 2 * share - margin, 1e-300)
        return -float(
            lost * np.log(share + margin)
            + won * np.log(max(share, 1e-300))
            + (images - lost - won) * np.log(same)
        )

    bounds = (0, (1 - margin) / 2)
    share = minimize_scalar(log_likelihood, bounds=bounds, method="bounded").x
    variance = images * (2 * share + margin - margin**2)
    expected = ndtr((lost - won - images * margin) / np.sqrt(variance))
    loss = AccuracyLoss(lost, won, images)
    assert loss.p_at_least(margin) == pytest.approx(expected, abs=1e-3)
    assert loss.p_at_most(margin) == pytest.approx(1 - expected, abs=1e-3)


@pytest.mark.parametrize("significance", [0.01, 0.05])
def test_bound_loss__tests_reach_the_significance_at_the_bounds(significance: float) -> None:
    loss = AccuracyLoss(9, 4, 300)
    smallest, largest = bound_loss(loss, significance)
    assert smallest < 5 / 300 < largest
    assert loss.p_at_most(smallest) == pytest.approx(significance)
    assert loss.p_at_least(largest) == pytest.approx(significance)


def test_bound_loss__bootstrap_samples() -> None:
    samples = np.linspace(-0.1, 0.02, 1000)
    loss = MetricLoss(Change(-0.04, samples, None))
    assert bound_loss(loss, 0.05) == pytest.approx((-0.014, 0.094), abs=0.001)


def test_bound_loss__everything_lost() -> None:
    assert bound_loss(AccuracyLoss(4, 0, 4), 0.05)[1] == pytest.approx(1)


def test_find_min_images__smallest_number_that_can_exclude_the_margin() -> None:
    images = int(find_min_images(0.05, 0.05))
    assert AccuracyLoss(0, 0, images).p_at_least(0.05) <= 0.05
    assert AccuracyLoss(0, 0, images - 1).p_at_least(0.05) > 0.05
    assert find_min_images(0, 0.05) == np.inf
    assert find_min_images(1, 0.05) == 0


def test_measure_accuracy_loss__groups_count() -> None:
    first = np.ones(400, np.bool_)
    second = first.copy()
    second[:20] = False  # all on the first day
    images = measure_accuracy_loss(first, second)
    days = measure_accuracy_loss(first, second, np.arange(400) // 80)
    assert (days.lost, days.won, days.images) == (20, 0, 400)
    assert images.p_at_most(0) < 0.001
    assert days.p_at_most(0) > 0.1
    assert measure_accuracy_loss(first, second, ["one"] * 400).jackknife is None


def test_measure_accuracy_loss__error_rate_at_the_margin_on_simulated_days() -> None:
    # The true loss is the margin: more than 5% of passes (or fails) would be too many.
    rng = np.random.default_rng(0)
    passed, failed = [], []
    for _ in range(500):
        lost = np.repeat(rng.beta(2, 18, size=8), 100) > rng.random(800)
        loss = measure_accuracy_loss(np.ones(800, np.bool_), ~lost, np.arange(800) // 100)
        passed.append(loss.p_at_least(0.1) < 0.05)
        failed.append(loss.p_at_most(0.1) < 0.05)
    assert 0 < np.mean(passed) < 0.1
    assert 0 < np.mean(failed) < 0.1
