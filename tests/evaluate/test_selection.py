from collections.abc import Callable

import numpy as np

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.selection import (
    MAX_CLASSES,
    MAX_DISAGREEMENTS,
    MAX_LISTED,
    choose_classes,
    select,
)

MakeEvaluation = Callable[..., Evaluation]


def test_select__surest_mistakes_and_every_cell_in_turn(make_evaluation: MakeEvaluation) -> None:
    targets = np.array([0, 0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1, 0])
    scores = np.array([0.9, 0.6, 0.7, 0.8, 0.5, 0.95])
    chosen = select(make_evaluation(("a", "b"), targets, predicted, scores=scores), 2)
    assert chosen.mistakes.tolist() == [5, 3]
    # First of every cell: the surest mistakes, then the least sure of the right ones.
    assert chosen.listed.tolist() == [3, 5, 1, 4, 2, 0]
    assert chosen.disagreements.tolist() == []


def test_select__bounded(make_evaluation: MakeEvaluation) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 20_000)
    predicted = [np.where(rng.random(20_000) < 0.8, targets, 0) for _ in range(2)]
    evaluation = make_evaluation(("a", "b", "c"), targets, *predicted)
    chosen = select(evaluation, 24)
    assert len(chosen.listed) == MAX_LISTED
    assert len(chosen.mistakes) == 24
    assert len(chosen.disagreements) == MAX_DISAGREEMENTS < chosen.all_disagreements
    cells = set(zip(targets.tolist(), predicted[0].tolist(), strict=True))
    listed = {(int(targets[place]), int(predicted[0][place])) for place in chosen.listed}
    assert listed == cells


def test_select__disagreements_that_one_has_right_lead(make_evaluation: MakeEvaluation) -> None:
    targets = np.array([0, 0, 0, 0])
    first, second = np.array([1, 1, 0, 0]), np.array([2, 0, 1, 0])
    evaluation = make_evaluation(("a", "b", "c"), targets, first, second)
    chosen = select(evaluation, 0)
    assert chosen.disagreements.tolist() == [1, 2, 0]
    assert chosen.all_disagreements == 3


def test_choose_classes__those_with_mistakes(make_evaluation: MakeEvaluation) -> None:
    labels = tuple(f"class {number:03}" for number in range(100))
    targets = np.arange(100)
    predicted = targets.copy()
    predicted[90:] = 99
    chosen = choose_classes(make_evaluation(labels, targets, predicted)).tolist()
    assert len(chosen) == MAX_CLASSES
    assert chosen == sorted(chosen)
    assert set(range(90, 100)) <= set(chosen)
