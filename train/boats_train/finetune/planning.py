"""Whether and how the backbone of an SVM is fine-tuned: the rules of `--unfreeze auto`."""

from dataclasses import dataclass
from pathlib import Path

import torch

from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune.activation_trainer import ActivationData, ActivationTrainer, time_idle
from boats_train.finetune.activations import ActivationCache, CacheLayout, compute_budget
from boats_train.finetune.cross_fitting import count_fold_epochs, count_steps, split_fold
from boats_train.finetune.freezing import unfreeze
from boats_train.finetune.learners import REGULARIZATION, FineTuningImages
from boats_train.finetune.network_split import (
    NetworkSplit,
    SplitError,
    choose_blocks,
    copy_split,
    split_network,
)
from boats_train.finetune.trainer import FineTuningSettings
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.config import TrainConfig
from boats_train.svm.folds import Folds

EPOCHS, LEARNING_RATE, BATCH_SIZE = 12, 5e-4, 32
"""Defaults of `--epochs`, `--lr` and `--batch-size`."""

MIN_IMAGES = 200
"""`auto` does not fine-tune on fewer training images: the networks of the folds would differ
more from each other than from the frozen one."""

MAX_MINUTES = 60
"""`auto` does not fine-tune if it would take longer."""


@dataclass(frozen=True)
class ActivationPlan:
    """How a network is split and what is stored of each image."""

    split: NetworkSplit
    layout: CacheLayout


def make_settings(config: TrainConfig, blocks: str) -> FineTuningSettings:
    """Return the hyperparameters of the final training; `blocks` as in `unfreeze`."""
    return FineTuningSettings(
        config.learning_rate or LEARNING_RATE,
        config.epochs or EPOCHS,
        config.batch_size or BATCH_SIZE,
        config.seed,
        blocks,
    )


def find_obstacle(config: TrainConfig, images: int) -> str | None:
    """Return why `auto` does not fine-tune, or None.

    Args:
        config: Configuration of the training.
        images: Number of training images.
    """
    if config.weights == "none":
        return "the weights are random"
    if config.from_run:
        return "the network of --from may have been trained on held-out images"
    if images < MIN_IMAGES:
        return f"{images} training images are fewer than {MIN_IMAGES}"
    return None


def plan_activations(
    network: FeatureNetwork,
    unfrozen: str,
    preprocessing: Preprocessing,
    images: int,
    folder: Path,
) -> ActivationPlan:
    """Split a network so that the activations of all images fit on the disk.

    If they do not fit, mirror images are left out; then `auto` trains fewer blocks.

    Args:
        network: Feature network on a CPU; the blocks to train become trainable.
        unfrozen: Number of blocks to train, or `auto`.
        preprocessing: Preprocessing with the image size.
        images: Number of images.
        folder: Folder of the activations.

    Raises:
        UsageError: If the backbone has fewer blocks.
        SplitError: If the backbone cannot be split, or the activations do not fit.
    """
    height, width = preprocessing.height, preprocessing.width
    budget = compute_budget(folder)
    if unfrozen == "auto":
        choices = range(choose_blocks(network, height, width), 0, -1)
    else:
        choices = range(int(unfrozen), int(unfrozen) - 1, -1)
    for blocks in choices:
        split = split_network(network, blocks, height, width)
        for orientations in (2, 1):
            layout = CacheLayout(images, orientations, split.shape)
            if layout.size <= budget:
                unfreeze(network.backbone, str(blocks))
                return ActivationPlan(split, layout)
    raise SplitError(
        f"{layout.describe()}, are more than the {max(budget, 0) / 1e9:.1f} GB that {folder} can "
        "take"
    )


def count_all_steps(images: FineTuningImages, folds: Folds, settings: FineTuningSettings) -> int:
    """Return the training steps of all folds and of the final training."""
    sizes = [len(split_fold(folds, fold, images)[0]) for fold in range(len(folds.names))]
    epochs = count_fold_epochs(settings.epochs)
    in_folds = sum(epochs * count_steps(size, settings) for size in sizes)
    return in_folds + settings.epochs * count_steps(images.train_count, settings)


def estimate_seconds(
    network: FeatureNetwork,
    plan: ActivationPlan,
    preprocessing: Preprocessing,
    images: FineTuningImages,
    folds: Folds,
    settings: FineTuningSettings,
) -> float:
    """Estimate the seconds of the activations, the cross-fitting and the final training.

    A training step and the whole network are timed on artificial data. The network runs on each
    image and its mirror image, and its suffix on each image for every fold.
    """
    data = ActivationData(ActivationCache(Path(), plan.layout), images.targets, images.classes)
    trainer = ActivationTrainer(
        copy_split(plan.split), data, images.train, images.valid, settings, REGULARIZATION
    )
    training = count_all_steps(images, folds, settings) * trainer.time_step()
    pixels = torch.zeros(1, preprocessing.height, preprocessing.width, 3, dtype=torch.uint8)
    with torch.inference_mode():
        network(pixels)
        run = time_idle(lambda: network(pixels))
    return training + len(images.paths) * (2 + len(folds.names)) * run
