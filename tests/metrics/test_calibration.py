import json

import numpy as np
import pytest

from boats_metrics.calibration import compute_reliability


def test_compute_reliability__by_hand() -> None:
    scores = np.array([0.1, 0.92, 0.98, 1.0])
    reliability = compute_reliability(scores, np.array([False, True, True, False]))
    assert json.loads(json.dumps(reliability.to_json())) == {
        "error": pytest.approx(0.25 * 0.1 + 0.75 * 0.3),
        "bins": [
            {"low": 0.1, "photos": 1, "score": 0.1, "accuracy": 0.0},
            {
                "low": 0.9,
                "photos": 3,
                "score": pytest.approx(0.9666667),
                "accuracy": pytest.approx(2 / 3),
            },
        ],
    }


@pytest.mark.parametrize(
    ("score", "correct", "expected"),
    [
        (0.75, (True, True, True, False), 0.0),
        (1.0, (True, True, True), 0.0),
        (1.0, (False, False, False), 1.0),
    ],
)
def test_compute_reliability__error_of_equal_scores(
    score: float, correct: tuple[bool, ...], expected: float
) -> None:
    reliability = compute_reliability(np.full(len(correct), score), np.array(correct))
    assert reliability.calibration_error == expected
