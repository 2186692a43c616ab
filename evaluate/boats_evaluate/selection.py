"""Selection of the images and classes on the report page, so that its size stays bounded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.evaluation import Evaluation

MAX_LISTED = 5000
"""Maximum number of images listed by name."""

MAX_THUMBNAILS = 600
"""Maximum number of listed images with a thumbnail."""

MAX_DISAGREEMENTS = 60
"""Maximum number of images on which the files disagree."""

MAX_CLASSES = 60
"""Maximum number of classes in the confusion matrix."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class PageSelection:
    """Images on the page, as indices into `Evaluation.images`.

    Attributes:
        listed: Images listed by name; the first ones have thumbnails.
        mistakes: Incorrect predictions with the highest scores, in descending order.
        disagreements: Images for which the files predict different classes.
        total_disagreements: Number of such images, including those not shown.
    """

    listed: Indices
    mistakes: Indices
    disagreements: Indices
    total_disagreements: int


def select_images(evaluation: Evaluation, max_mistakes: int) -> PageSelection:
    """Select the images on the page, with up to `max_mistakes` mistakes."""
    scores = evaluation.main.predictions.scores
    incorrect = np.flatnonzero(~evaluation.correct)
    mistakes = incorrect[np.argsort(-scores[incorrect], kind="stable")]
    disagreements = _find_disagreements(evaluation)
    return PageSelection(
        listed=_rank_by_cell(evaluation)[:MAX_LISTED],
        mistakes=mistakes[:max_mistakes],
        disagreements=disagreements[:MAX_DISAGREEMENTS],
        total_disagreements=len(disagreements),
    )


def select_classes(evaluation: Evaluation) -> Indices:
    """Return the indices of the classes in the confusion matrix, ascending.

    If there are more than `MAX_CLASSES`, these are the classes with the most mistakes.
    """
    confusion = evaluation.main.metrics.classification.confusion
    mistakes = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * np.diagonal(confusion)
    return np.sort(np.argsort(-mistakes, kind="stable")[:MAX_CLASSES])


def _rank_by_cell(evaluation: Evaluation) -> Indices:
    """Order images so that every cell of the confusion matrix is represented among the first.

    The images of all cells alternate. Each incorrect cell starts with its highest score, each
    correct cell with its lowest.
    """
    predictions, correct = evaluation.main.predictions, evaluation.correct
    cells = evaluation.targets * len(evaluation.labels) + predictions.predicted
    priority = np.where(correct, predictions.scores, -predictions.scores)
    order = np.lexsort((priority, cells))
    _, starts, sizes = np.unique(cells[order], return_index=True, return_counts=True)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return np.lexsort((cells, correct, rank))


def _find_disagreements(evaluation: Evaluation) -> Indices:
    """List images with different predictions; those that some file predicts correctly come first.

    Among these, mistakes of the evaluated file come first, then high scores.
    """
    predicted = np.stack([file.predictions.predicted for file in evaluation.files])
    indices = np.flatnonzero((predicted != predicted[0]).any(axis=0))
    all_incorrect = (predicted != evaluation.targets).all(axis=0)
    scores = evaluation.main.predictions.scores
    order = np.lexsort((-scores[indices], evaluation.correct[indices], all_incorrect[indices]))
    return indices[order]
