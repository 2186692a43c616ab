"""Small fine-tunings on stored activations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boats_train.finetune.activations import ActivationCache, CacheLayout
from boats_train.finetune.freezing import unfreeze
from boats_train.finetune.learners import ActivationSource, FineTuningImages
from boats_train.finetune.network_split import NetworkSplit, split_network
from boats_train.finetune.trainer import FineTuningData, FineTuningSettings
from boats_train.models.feature_network import FeatureNetwork
from support.fine_tuning import PREPROCESSING, make_network

SETTINGS = FineTuningSettings(learning_rate=1e-2, epochs=2, batch_size=4, seed=0, unfreeze="2")


class RecordingCache(ActivationCache):
    """Stored activations that record the images of each access with gradients."""

    trained: list[int]

    def take(self, indices: Any, mirrored: Any) -> torch.Tensor:
        """Return activations; inference does not record gradients."""
        if torch.is_grad_enabled():
            self.trained.extend(indices)
        return super().take(indices, mirrored)


def list_images(data: FineTuningData) -> FineTuningImages:
    """Return the training and validation images of a dataset."""
    targets = np.concatenate([data.train.targets, data.valid.targets])
    paths = (*data.train.paths, *data.valid.paths)
    return FineTuningImages(paths, targets, len(data.train.paths), data.classes)


def make_source(
    data: FineTuningData, folder: Path, blocks: int = 2
) -> tuple[FeatureNetwork, NetworkSplit, RecordingCache, ActivationSource]:
    """Return a small network, its parts, and trainings of its last blocks."""
    network, images = make_network(), list_images(data)
    split = split_network(network, blocks, PREPROCESSING.height, PREPROCESSING.width)
    unfreeze(network.backbone, str(blocks))
    cache = RecordingCache(folder, CacheLayout(len(images.paths), 2, split.shape))
    cache.trained = []
    cache.fill(network, split, PREPROCESSING, images.paths)
    return network, split, cache, ActivationSource(split, cache, images)


def change(**settings: Any) -> FineTuningSettings:
    """Return `SETTINGS` with other values."""
    return replace(SETTINGS, **settings)
