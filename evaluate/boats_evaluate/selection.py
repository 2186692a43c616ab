"""Which photos the page shows: it stays quick and small however many were judged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.evaluation import Evaluation

MAX_LISTED = 5000
"""Photos that are listed by name."""

MAX_PICTURES = 600
"""Photos of those that are shown small."""

MAX_DISAGREEMENTS = 60
"""Photos that are shown because the files disagree on them."""

MAX_CLASSES = 60
"""Classes that the confusion matrix shows."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """Places in `Evaluation.photos`.

    Attributes:
        listed: Those listed by name, in the order of the list; the first have pictures.
        mistakes: The surest mistakes, the surest first.
        disagreements: Photos that not all files call the same.
        all_disagreements: How many there are of them.
    """

    listed: Places
    mistakes: Places
    disagreements: Places
    all_disagreements: int


def select(evaluation: Evaluation, mistakes: int) -> Selection:
    """Chooses what the page shows.

    Args:
        evaluation: What the files said.
        mistakes: How many are shown large.
    """
    scores, right = evaluation.main.answers.scores, evaluation.right
    wrong = np.flatnonzero(~right)
    surest = wrong[np.argsort(-scores[wrong], kind="stable")]
    disagreed = _disagreements(evaluation)
    return Selection(
        _spread(evaluation)[:MAX_LISTED],
        surest[:mistakes],
        disagreed[:MAX_DISAGREEMENTS],
        len(disagreed),
    )


def choose_classes(evaluation: Evaluation) -> Places:
    """Returns the classes that the confusion matrix shows, in their order.

    Where there are too many, those that take part in the most mistakes.
    """
    counts = evaluation.main.measures.counts
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    return np.sort(np.argsort(-wrong, kind="stable")[:MAX_CLASSES])


def _spread(evaluation: Evaluation) -> Places:
    """Orders photos so that each cell of the confusion matrix has its turn, mistakes first.

    Within a cell the surest mistake leads, and the least sure of the right ones.
    """
    answers, right = evaluation.main.answers, evaluation.right
    cells = evaluation.targets * len(evaluation.labels) + answers.predicted
    interest = np.where(right, answers.scores, -answers.scores)
    order = np.lexsort((interest, cells))
    _, starts, sizes = np.unique(cells[order], return_index=True, return_counts=True)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    spread: Places = np.lexsort((cells, right, rank))
    return spread


def _disagreements(evaluation: Evaluation) -> Places:
    """Orders photos on which files disagree: those first that one of them has right."""
    first, *others = (file.answers.predicted for file in evaluation.files)
    differing = np.zeros(len(first), dtype=bool)
    told = evaluation.right.astype(np.int64)
    for predicted in others:
        differing |= predicted != first
        told += predicted == evaluation.targets
    places = np.flatnonzero(differing)
    undecided = told[places] > 0
    found: Places = places[
        np.lexsort((-evaluation.main.answers.scores[places], evaluation.right[places], ~undecided))
    ]
    return found
