"""Small networks and data for tests of training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from boats_data.dataset import scan_dataset
from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.linear_head import ArrayDataset
from boats_train.finetune.loop import Checkpoint, EpochMetrics
from boats_train.finetune.recipe import fine_tune
from boats_train.finetune.trainer import FineTuningData, FineTuningSettings
from boats_train.models.feature_network import FeatureNetwork

PREPROCESSING = Preprocessing(48, 96)

SETTINGS = FineTuningSettings(learning_rate=1e-3, epochs=3, batch_size=4, seed=0, unfreeze="all")

FineTuned = tuple[FeatureNetwork, nn.Linear, list[EpochMetrics]]


class SmallBackbone(nn.Module):
    """Three blocks, the second with BatchNorm and the third with dropout."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, stride=4)
        self.second = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2))
        self.third = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(8, 12, 3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.third(self.second(self.first(image))).mean(dim=(2, 3))
        return values


def make_network(dropout: float = 0.2) -> FeatureNetwork:
    """Return a small network with the same random weights in every call."""
    torch.manual_seed(0)
    return FeatureNetwork(SmallBackbone(dropout), PREPROCESSING)


def load_data(folder: Path) -> FineTuningData:
    dataset = scan_dataset(folder)
    train, valid = dataset.splits["train"], dataset.splits["valid"]
    return FineTuningData(train, valid, dataset.classes, PREPROCESSING)


def fine_tune_small(
    data: FineTuningData,
    checkpoint: Checkpoint,
    network: FeatureNetwork | None = None,
    distributed: DistributedContext | None = None,
    log: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> FineTuned:
    """Fine-tune a network, by default the small one, with `SETTINGS` except for the given ones."""
    network = network or make_network()
    distributed = distributed or DistributedContext()
    changed = replace(SETTINGS, **settings)
    layer, history = fine_tune(network, data, changed, checkpoint, distributed, log)
    return network, layer, history


def make_features(classes: int = 3, seed: int = 0) -> ArrayDataset:
    """Return features of 60 images whose first column depends on the class."""
    rng = np.random.default_rng(seed)
    targets = np.arange(60) % classes
    features = rng.normal(0, 1, (60, 4)).astype(np.float32)
    features[:, 0] += targets
    return ArrayDataset(features, targets)


def make_layer(classes: int = 3) -> nn.Linear:
    """Return a linear layer with the same random weights in every call."""
    torch.manual_seed(1)
    return nn.Linear(4, classes)
