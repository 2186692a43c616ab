import numpy as np
import pytest

from boats_metrics.calibration import compute_reliability


def test_measure_reliability__by_hand() -> None:
    scores = np.array([0.1, 0.92, 0.98, 1.0])
    measured = compute_reliability(scores, np.array([False, True, True, False]))
    low, high = measured.bins
    assert (low.low, low.photos, low.score, low.accuracy) == (0.1, 1, 0.1, 0.0)
    assert (high.low, high.photos) == (0.9, 3)
    assert high.score == pytest.approx(0.9666667)
    assert high.accuracy == pytest.approx(2 / 3)
    assert measured.error == pytest.approx(0.25 * 0.1 + 0.75 * 0.3)


def test_measure_reliability__scores_that_mean_what_they_say() -> None:
    scores = np.full(4, 0.75)
    measured = compute_reliability(scores, np.array([True, True, True, False]))
    assert measured.error == 0.0


def test_measure_reliability__surely_right_and_surely_wrong() -> None:
    assert compute_reliability(np.ones(3), np.ones(3, dtype=bool)).error == 0.0
    assert compute_reliability(np.ones(3), np.zeros(3, dtype=bool)).error == 1.0
