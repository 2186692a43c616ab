"""Cross-fitting: a network for each fold that was not trained on the images of the fold.

A network that was trained on an image separates it better than a new one, so the hyperparameters,
calibration, threshold and metrics of a classifier on fine-tuned features cannot come from the
network that is exported. Here, each fold has its own network, trained for fewer epochs on the other
folds. What its features say about the held-out images is not optimistic; the exported network is
trained on all folds, and longer (cross-fitting, Chernozhukov et al. 2018, doi:10.1111/ectj.12097).
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boats_train.finetune.learners import FineTuningImages, Indices, Learner, LearnerSource
from boats_train.finetune.loop import Checkpoint, EpochMetrics, TrainingLoop
from boats_train.finetune.trainer import FineTuningSettings
from boats_train.runs.checkpoints import CHECKPOINT
from boats_train.svm.folds import Folds, make_folds, make_stratified_folds
from boats_train.svm.grid_search import FINE_TUNED_GRID, CrossValidation

MAX_FOLDS = 5
"""With more groups than this, several groups share a fold, which bounds the run time."""

STRATIFIED_FOLDS = 3

EPOCH_SHARE = 3
"""The training of a fold has this fraction of the epochs of the final training."""

MIN_FOLDS_TO_STOP = 2
"""Folds after which cross-fitting stops if none of them is more accurate than frozen features."""


@dataclass(frozen=True)
class Comparison:
    """Accuracy of an SVM on fine-tuned and on frozen features, by fold.

    Attributes:
        fine_tuned, frozen: Accuracies on the held-out images of each fold.
    """

    fine_tuned: tuple[float, ...]
    frozen: tuple[float, ...]

    @property
    def differences(self) -> NDArray[np.float64]:
        """Difference of the accuracies of each fold."""
        return np.subtract(self.fine_tuned, self.frozen)

    @property
    def mean(self) -> float:
        """Mean difference."""
        return float(self.differences.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean difference over the folds."""
        count = len(self.fine_tuned)
        return float(self.differences.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")

    @property
    def pays(self) -> bool:
        """Whether the mean difference is above one standard error."""
        return self.mean > self.standard_error

    def describe(self, noun: str) -> str:
        """Return the difference for a message."""
        points, error = 100 * self.mean, 100 * self.standard_error
        return f"{points:+.1f} points on {len(self.fine_tuned)} held-out {noun} (SE {error:.1f})"


@dataclass(frozen=True)
class CrossFit:
    """Result of cross-fitting.

    Attributes:
        folds: Folds of all images.
        features: Features of all images for each fold, (N, D) float32 each, in the order of the
            folds; only those of the finished folds if cross-fitting was stopped.
        curves: Metrics of each epoch by fold.
        comparison: Comparison with the frozen features.
    """

    folds: Folds
    features: tuple[NDArray[np.float32], ...]
    curves: tuple[list[EpochMetrics], ...]
    comparison: Comparison

    @property
    def is_complete(self) -> bool:
        """Whether all folds were trained."""
        return len(self.features) == len(self.folds.names)

    def average_curves(self) -> list[EpochMetrics]:
        """Return the mean over the folds of the held-out accuracy and macro-F1 by epoch."""
        return [
            {
                f"held_out_{name}": float(np.mean([epoch[f"valid_{name}"] for epoch in epochs]))
                for name in ("accuracy", "macro_f1")
            }
            for epochs in zip(*self.curves, strict=True)
        ]


class Progress:
    """Time left of a training whose number of steps is known."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, 0
        self._started = time.monotonic()

    def skip(self, steps: int) -> None:
        """Leave out steps that are not needed."""
        self._steps -= steps

    def advance(self, steps: int) -> str:
        """Count steps and return the time left for a message."""
        self._done += steps
        elapsed = time.monotonic() - self._started
        return format_duration(elapsed / self._done * (self._steps - self._done))


def make_cross_fit_folds(images: FineTuningImages, pattern: str | None, seed: int) -> Folds:
    """Assign the training and validation images to at most `MAX_FOLDS` folds.

    Groups as in `make_folds`. They are ignored if the other training images of a fold would have a
    single class, or a group has no training images.
    """
    folds = make_folds(
        images.paths, images.targets, pattern, seed, MAX_FOLDS, stratified=STRATIFIED_FOLDS
    )
    for train, held_out in folds.split():
        classes = images.targets[train[train < images.train_count]]
        if len(np.unique(classes)) < 2 or not (held_out < images.train_count).any():
            return make_stratified_folds(images.targets, seed, STRATIFIED_FOLDS)
    return folds


def split_fold(folds: Folds, fold: int, images: FineTuningImages) -> tuple[Indices, Indices]:
    """Return the indices of the training images outside and inside a fold."""
    inside = folds.assignment[: images.train_count] == fold
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def count_fold_epochs(epochs: int) -> int:
    """Return the epochs of the training of a fold for those of the final training."""
    return max(1, round(epochs / EPOCH_SHARE))


def count_steps(images: int, settings: FineTuningSettings) -> int:
    """Return the steps of an epoch: every step has a full batch."""
    return -(-images // settings.batch_size)


def cross_fit(
    source: LearnerSource,
    folds: Folds,
    settings: FineTuningSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    *,
    may_stop: bool,
) -> CrossFit:
    """Train a network for each fold and compare its features with the frozen ones.

    Args:
        source: Images, and the network to copy.
        folds: Folds of all images.
        settings: Hyperparameters of the training of a fold.
        checkpoint: Folder of the checkpoints of all folds.
        progress: Time left of the whole training.
        may_stop: Whether to stop after `MIN_FOLDS_TO_STOP` folds if it does not pay in any.

    Raises:
        RunError: If a loss is not finite, or a checkpoint cannot be used.
        OutputError: If a checkpoint cannot be written.
    """
    images = source.images
    frozen_features = source.compute_frozen_features()[: images.train_count]
    train_folds = folds.take(images.train)
    targets = images.targets[: images.train_count]
    frozen = CrossValidation(frozen_features, targets, train_folds)
    features: list[NDArray[np.float32]] = []
    curves: list[list[EpochMetrics]] = []
    tuned_scores: list[list[float]] = []
    frozen_scores: list[list[float]] = []
    for fold, name in enumerate(folds.names):
        train, held_out = split_fold(folds, fold, images)
        learner = source.start(train, held_out, settings, copy=True)
        title = f"cross-fitting {fold + 1}/{len(folds.names)} ({name} held out)"
        steps = count_steps(len(train), settings)
        folder = checkpoint.folder / f"fold-{fold + 1}"
        curves.append(
            run_epochs(
                learner, settings, replace(checkpoint, folder=folder), progress, steps, title
            )
        )
        features.append(learner.compute_features())
        values = [array[: images.train_count] for array in features]
        fitted = CrossValidation(values, targets, train_folds)
        tuned_scores.append(fitted.evaluate_fold(fold, FINE_TUNED_GRID))
        frozen_scores.append(frozen.evaluate_fold(fold, FINE_TUNED_GRID))
        comparison = compare(tuned_scores, frozen_scores)
        checkpoint.log(
            f"{title}: accuracy of the SVM {comparison.fine_tuned[-1]:.3f}, "
            f"with frozen features {comparison.frozen[-1]:.3f}"
        )
        is_hopeless = fold + 1 >= MIN_FOLDS_TO_STOP and (comparison.differences <= 0).all()
        if may_stop and is_hopeless:
            break
    return CrossFit(folds, tuple(features), tuple(curves), comparison)


def compare(tuned: list[list[float]], frozen: list[list[float]]) -> Comparison:
    """Compare accuracies by fold and candidate, each with its best candidate over these folds."""
    best = [
        tuple(scores[int(np.mean(table, axis=0).argmax())] for scores in table)
        for table in (tuned, frozen)
    ]
    return Comparison(best[0], best[1])


def choose_epochs(epochs: int, curves: list[EpochMetrics]) -> int:
    """Return the number of epochs of the final training.

    It is smaller than planned only if the mean held-out accuracy of the folds was highest before
    their last epoch, and then in the same proportion.
    """
    accuracies = [epoch["held_out_accuracy"] for epoch in curves]
    best = 1 + max(range(len(accuracies)), key=lambda index: (accuracies[index], index))
    return max(1, round(epochs * best / len(accuracies)))


def run_epochs(
    learner: Learner,
    settings: FineTuningSettings,
    checkpoint: Checkpoint,
    progress: Progress,
    steps: int,
    title: str,
) -> list[EpochMetrics]:
    """Train all epochs, or those after the checkpoint, with a line of progress for each."""
    resume = checkpoint.resume and (checkpoint.folder / CHECKPOINT).is_file()
    loop = TrainingLoop(learner.state, replace(checkpoint, resume=resume), settings.seed)
    progress.skip(steps * len(loop.history))

    def train_epoch(number: int) -> EpochMetrics:
        metrics = learner.train_epoch(number) | learner.evaluate()
        checkpoint.log(
            f"{title}: epoch {number} of {settings.epochs}: loss {metrics['train_loss']:.3f}, "
            f"accuracy {metrics['valid_accuracy']:.3f}, macro-F1 {metrics['valid_macro_f1']:.3f}, "
            f"about {progress.advance(steps)} left"
        )
        return metrics

    return loop.run(settings.epochs, train_epoch)


def format_duration(seconds: float) -> str:
    """Return a time for a message, such as `12 min`."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
