import numpy as np
import pytest

from boats_metrics.selective import coverage_curve, evaluate_threshold, select_threshold


def two_classes(scores: list[float]) -> np.ndarray:
    first = np.array(scores)
    return np.column_stack([first, 1 - first])


def test_choose_operating_point__lowest_threshold_that_is_right_often_enough() -> None:
    # The six surest are right, the two least sure are wrong.
    probabilities = two_classes([0.95, 0.94, 0.93, 0.92, 0.91, 0.90, 0.60, 0.58])
    targets = np.array([0] * 6 + [1] * 2)
    point = select_threshold(probabilities, targets)
    assert point.threshold == 0.61
    assert point.coverage == 0.75
    assert point.accuracy == 1.0


def test_choose_operating_point__everything_right_answers_everything() -> None:
    point = select_threshold(two_classes([0.6, 0.9]), np.array([0, 0]))
    assert (point.threshold, point.coverage, point.accuracy) == (0.0, 1.0, 1.0)


def test_choose_operating_point__never_under_half_of_the_photos() -> None:
    # Only one photo in five is right: refusing four would reach the target, and answer nobody.
    probabilities = two_classes([0.99, 0.8, 0.7, 0.6, 0.55])
    point = select_threshold(probabilities, np.array([0, 1, 1, 1, 1]))
    assert point.coverage >= 0.5
    assert point.accuracy == pytest.approx(1 / 3)


def test_choose_operating_point__the_curve_falls_in_coverage() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=200)
    point = select_threshold(probabilities, rng.integers(0, 3, 200))
    thresholds, coverages, accuracies = zip(*point.curve, strict=True)
    assert thresholds == tuple(step / 100 for step in range(101))
    assert coverages[0] == 1.0
    assert list(coverages) == sorted(coverages, reverse=True)
    assert accuracies[-1] is None


def test_trace_curve__the_operating_points_own() -> None:
    rng = np.random.default_rng(0)
    probabilities, targets = rng.dirichlet([1, 1, 1], size=50), rng.integers(0, 3, 50)
    right = probabilities.argmax(axis=1) == targets
    curve = select_threshold(probabilities, targets).curve
    assert coverage_curve(probabilities.max(axis=1), right) == curve


def test_answer_from__a_score_at_the_threshold_is_answered() -> None:
    scores, right = np.array([0.5, 0.79, 0.9]), np.array([True, False, True])
    assert evaluate_threshold(scores, right, 0.79) == (0.79, pytest.approx(2 / 3), 0.5)
    assert evaluate_threshold(scores, right, 0.95) == (0.95, 0.0, None)
