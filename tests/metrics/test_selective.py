import numpy as np
import pytest

from boats_metrics.selective import evaluate_threshold, select_threshold


@pytest.mark.parametrize(
    ("scores", "targets", "expected"),
    [
        pytest.param(
            [0.95, 0.94, 0.93, 0.92, 0.91, 0.90, 0.60, 0.58], [0] * 6 + [1] * 2, (0.61, 0.75, 1),
            id="lowest threshold above the incorrect predictions",
        ),
        pytest.param([0.6, 0.9], [0, 0], (0, 1, 1), id="all predictions correct"),
        pytest.param(
            # A threshold of 0.81 reaches an accuracy of 1, with a coverage of 0.2.
            [0.99, 0.8, 0.7, 0.6, 0.55], [0, 1, 1, 1, 1], (0.61, 0.6, pytest.approx(1 / 3)),
            id="coverage of at least one half",
        ),
    ],
)  # fmt: skip
def test_select_threshold__by_hand(
    scores: list[float], targets: list[int], expected: tuple[float, ...]
) -> None:
    probabilities = np.column_stack([scores, 1 - np.array(scores)])
    selection = select_threshold(probabilities, np.array(targets))
    assert (selection.threshold, selection.coverage, selection.accuracy) == expected


def test_select_threshold__coverage_curve() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=200)
    selection = select_threshold(probabilities, rng.integers(0, 3, 200))
    thresholds, coverages, accuracies = zip(*selection.curve, strict=True)
    assert thresholds == tuple(step / 100 for step in range(101))
    assert coverages[0] == 1.0
    assert list(coverages) == sorted(coverages, reverse=True)
    assert accuracies[-1] is None


@pytest.mark.parametrize(
    ("threshold", "coverage", "accuracy"), [(0.79, 2 / 3, 0.5), (0.9, 1 / 3, 1.0), (0.95, 0, None)]
)
def test_evaluate_threshold__score_at_the_threshold_is_covered(
    threshold: float, coverage: float, accuracy: float | None
) -> None:
    scores, correct = np.array([0.5, 0.79, 0.9]), np.array([True, False, True])
    point = evaluate_threshold(scores, correct, threshold)
    assert point == (threshold, pytest.approx(coverage), accuracy)
