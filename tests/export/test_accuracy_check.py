import numpy as np
import pytest

from boats_export.accuracy_check import Accuracy, require_accuracy
from boats_runtime.errors import CheckError

CLASSES = ("barca", "gondola", "topa")
BEFORE = Accuracy(0.9, 0.8, {"barca": 1.0, "gondola": 0.5, "topa": 0.0})


def test_accuracy__compute() -> None:
    accuracy = Accuracy.compute(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 2]), CLASSES)
    assert accuracy.to_json() == {
        "accuracy": 0.75,
        # F1 is 0.8 for barca, 0 for gondola, which is only predicted, and 1 for topa.
        "macro_f1": pytest.approx(0.6),
        "recall": {"barca": pytest.approx(2 / 3), "topa": 1.0},
    }


@pytest.mark.parametrize(
    "after",
    [
        BEFORE,
        Accuracy(0.895, 0.79, BEFORE.recall),
        Accuracy(0.95, 0.9, {"barca": 0.5, "gondola": 0.01, "topa": 0.0}),
    ],
)
def test_require_accuracy__passes(after: Accuracy) -> None:
    require_accuracy(BEFORE, after, None)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (Accuracy(0.8949, 0.8, BEFORE.recall), "accuracy 0.895 instead of 0.900"),
        (Accuracy(0.9, 0.7899, BEFORE.recall), "macro-F1 0.790 instead of 0.800"),
        (Accuracy(float("nan"), 0.8, BEFORE.recall), "accuracy nan"),
    ],
)
def test_require_accuracy__fails(after: Accuracy, message: str) -> None:
    with pytest.raises(CheckError, match=f"loss is too large: .*{message}.*; a larger --max-drop"):
        require_accuracy(BEFORE, after, None)


@pytest.mark.parametrize(("max_drop", "passes"), [(4.9, False), (5.0, True), (100.0, True)])
def test_require_accuracy__max_drop(max_drop: float, passes: bool) -> None:
    after = Accuracy(0.85, 0.70, BEFORE.recall)
    if passes:
        require_accuracy(BEFORE, after, max_drop)
    else:
        with pytest.raises(CheckError, match=r"allowed: 4\.9 points of accuracy, 9\.8"):
            require_accuracy(BEFORE, after, max_drop)


@pytest.mark.parametrize("max_drop", [None, 0.0, 0.4, 100.0])
def test_require_accuracy__lost_class_whatever_the_max_drop(max_drop: float | None) -> None:
    after = Accuracy(0.9, 0.8, BEFORE.recall | {"gondola": 0.0})
    message = r"no image of gondola is recognized any more.*; --allow-lost-classes accepts it$"
    with pytest.raises(CheckError, match=message):
        require_accuracy(BEFORE, after, max_drop)
    require_accuracy(BEFORE, after, max_drop, allow_lost_classes=True)


def test_require_accuracy__lost_class_is_allowed_but_not_the_accuracy() -> None:
    after = Accuracy(0.8, 0.8, BEFORE.recall | {"gondola": 0.0})
    with pytest.raises(CheckError, match=r"large: accuracy 0\.800 instead of 0\.900 \(allowed"):
        require_accuracy(BEFORE, after, None, allow_lost_classes=True)
