"""Where fine-tuning takes its batches from: stored activations, or image files."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import LabeledImages
from boats_runtime.errors import DataError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.extraction import decode_images
from boats_train.features.inference import float32_backend
from boats_train.finetune.activation_trainer import (
    ActivationData,
    ActivationTrainer,
    compute_features,
)
from boats_train.finetune.activations import ActivationCache
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.loop import EpochMetrics
from boats_train.finetune.network_split import NetworkSplit, copy_split
from boats_train.finetune.optimization import Regularization
from boats_train.finetune.trainer import FineTuningData, FineTuningSettings, Trainer
from boats_train.models.feature_network import FeatureNetwork

REGULARIZATION = Regularization(head_factor=5.0, dropout=0.2, mixup=0.2)

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class FineTuningImages:
    """Images that can be decoded, those of the training set first.

    Attributes:
        paths: Image files, N of them.
        targets: (N,) int64, class indices.
        train_count: Number of images of the training set.
        classes: Class names.
    """

    paths: tuple[Path, ...]
    targets: NDArray[np.int64]
    train_count: int
    classes: tuple[str, ...]

    @property
    def train(self) -> Indices:
        """Indices of the training images."""
        return np.arange(self.train_count)

    @property
    def valid(self) -> Indices:
        """Indices of the validation images."""
        return np.arange(self.train_count, len(self.paths))

    def take(self, indices: Indices) -> LabeledImages:
        """Return some of the images."""
        return LabeledImages(tuple(self.paths[index] for index in indices), self.targets[indices])


class Learner(Protocol):
    """One training: its network, classifier layer, averaged weights and optimizer."""

    @property
    def state(self) -> dict[str, Any]:
        """Everything that training changes, by name."""

    def train_epoch(self, epoch: int) -> EpochMetrics:
        """Train one epoch, counted from 1."""

    def evaluate(self) -> EpochMetrics:
        """Return the metrics of the averaged weights on the images to evaluate on."""

    def compute_features(self) -> NDArray[np.float32]:
        """Return the features of all images with the averaged weights, (N, D) float32."""

    def load_averaged(self) -> None:
        """Load the averaged weights into the network and prepare it for inference."""


class LearnerSource(Protocol):
    """Starts trainings on parts of the images."""

    images: FineTuningImages

    def start(
        self, train: Indices, evaluated: Indices, settings: FineTuningSettings, *, copy: bool
    ) -> Learner:
        """Start a training of the network, or of a copy of it.

        Args:
            train: Indices of the images to train on.
            evaluated: Indices of the images to evaluate on after every epoch.
            settings: Hyperparameters.
            copy: Whether the network stays unchanged.
        """

    def compute_frozen_features(self) -> NDArray[np.float32]:
        """Return the features of all images before any training, (N, D) float32."""


class ActivationSource:
    """Trainings of the suffix of a network on stored activations."""

    def __init__(
        self, split: NetworkSplit, cache: ActivationCache, images: FineTuningImages
    ) -> None:
        self.images = images
        self._split, self._cache = split, cache
        self._data = ActivationData(cache, images.targets, images.classes)

    def start(
        self, train: Indices, evaluated: Indices, settings: FineTuningSettings, *, copy: bool
    ) -> Learner:
        """Start a training; see `LearnerSource`."""
        split = copy_split(self._split) if copy else self._split
        return ActivationTrainer(split, self._data, train, evaluated, settings, REGULARIZATION)

    def compute_frozen_features(self) -> NDArray[np.float32]:
        """Return the features of all images; see `LearnerSource`."""
        return compute_features(self._split.suffix, self._cache, len(self.images.paths))


class ImageSource:
    """Trainings of a network on augmented images, as on a GPU."""

    def __init__(
        self,
        network: FeatureNetwork,
        images: FineTuningImages,
        preprocessing: Preprocessing,
        distributed: DistributedContext,
    ) -> None:
        self.images = images
        self._network, self._preprocessing = network, preprocessing
        self._distributed = distributed

    def start(
        self, train: Indices, evaluated: Indices, settings: FineTuningSettings, *, copy: bool
    ) -> Learner:
        """Start a training; see `LearnerSource`."""
        network = deepcopy(self._network) if copy else self._network
        images = self.images
        data = FineTuningData(
            images.take(train), images.take(evaluated), images.classes, self._preprocessing
        )
        trainer = Trainer(network, data, settings, self._distributed, REGULARIZATION)
        return _ImageLearner(trainer, lambda: self._compute_features(network))

    def compute_frozen_features(self) -> NDArray[np.float32]:
        """Return the features of all images; see `LearnerSource`."""
        return self._compute_features(self._network)

    def _compute_features(self, network: FeatureNetwork) -> NDArray[np.float32]:
        backend = float32_backend(network)
        decoded = decode_images(self._preprocessing, self.images.paths)
        rows = [backend.run(pixels[np.newaxis].copy())[0] for _, pixels in decoded]
        if len(rows) != len(self.images.paths):
            raise DataError("an image was readable when the training started, but is not now")
        return np.stack(rows)


class _ImageLearner:
    """A training on images as a `Learner`."""

    def __init__(
        self, trainer: Trainer, compute_features: Callable[[], NDArray[np.float32]]
    ) -> None:
        self._trainer, self._compute_features = trainer, compute_features
        self.state = trainer.state

    def train_epoch(self, epoch: int) -> EpochMetrics:
        return self._trainer.train_epoch(epoch)

    def evaluate(self) -> EpochMetrics:
        return self._trainer.evaluate()

    def compute_features(self) -> NDArray[np.float32]:
        self.load_averaged()
        return self._compute_features()

    def load_averaged(self) -> None:
        self._trainer.save_best()
        self._trainer.load_best()
