import numpy as np

from boats_evaluate.selection import (
    MAX_CLASSES,
    MAX_DISAGREEMENTS,
    MAX_LISTED,
    select_classes,
    select_images,
)
from support.evaluations import make_evaluation


def test_select_images__order() -> None:
    targets = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    scores = np.array([0.9, 0.6, 0.7, 0.8, 0.5, 0.95])
    selection = select_images(make_evaluation(("a", "b"), targets, predicted, scores=scores), 2)
    assert selection.mistakes.tolist() == [5, 3]
    # The first image of each cell comes first: high scores of mistakes, low scores of the others.
    assert selection.listed.tolist() == [3, 5, 1, 4, 2, 0]
    assert selection.disagreements.tolist() == []


def test_select_images__limits() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 20_000)
    predicted = [np.where(rng.random(20_000) < 0.8, targets, 0) for _ in range(2)]
    selection = select_images(make_evaluation(("a", "b", "c"), targets, *predicted), 24)
    assert len(selection.listed) == MAX_LISTED
    assert len(selection.mistakes) == 24
    assert len(selection.disagreements) == MAX_DISAGREEMENTS < selection.total_disagreements
    cells = set(zip(targets.tolist(), predicted[0].tolist(), strict=True))
    assert {(targets[index], predicted[0][index]) for index in selection.listed} == cells


def test_select_images__disagreements_with_a_correct_prediction_come_first() -> None:
    targets = np.array([0, 0, 0, 0])
    first, second = np.array([1, 1, 0, 0]), np.array([2, 0, 1, 0])
    selection = select_images(make_evaluation(("a", "b", "c"), targets, first, second), 0)
    assert selection.disagreements.tolist() == [1, 2, 0]
    assert selection.total_disagreements == 3


def test_select_classes__classes_with_mistakes() -> None:
    labels = tuple(f"class {number:03}" for number in range(100))
    targets = np.arange(100)
    predicted = np.where(targets >= 90, 99, targets)
    classes = select_classes(make_evaluation(labels, targets, predicted)).tolist()
    assert len(classes) == MAX_CLASSES
    assert classes == sorted(classes)
    assert set(range(90, 100)) <= set(classes)
