"""Training of the suffix of a network on stored activations.

The recipe is that of `boats_train.finetune.recipe` without changes of color and size, which
activations do not allow: images are mirrored at random and mixed in pairs instead (mixup).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from boats_metrics.classification import compute_metrics
from boats_runtime.cpu import granted_cpus
from boats_train.finetune.activations import ActivationCache
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.loop import EpochMetrics
from boats_train.finetune.network_split import NetworkSplit
from boats_train.finetune.optimization import (
    ClassifierLayer,
    Regularization,
    make_average,
    make_optimizer,
    make_scheduler,
    mix,
    set_training_mode,
)
from boats_train.finetune.sampling import EpochSampler
from boats_train.finetune.trainer import FineTuningSettings

EVALUATION_BATCH = 8
"""Images per step of an evaluation: larger batches are slower on a CPU."""

TIMED_STEPS = 3


@dataclass(frozen=True)
class ActivationData:
    """Activations of all images, with their classes.

    Attributes:
        cache: Activations of N images.
        targets: (N,) int64, class indices.
        classes: Class names.
    """

    cache: ActivationCache
    targets: NDArray[np.int64]
    classes: tuple[str, ...]


class ActivationTrainer:
    """Suffix, classifier layer, averaged weights and optimizer of one training.

    Args:
        split: The network; its suffix is changed in place.
        data: Activations of all images.
        train: Indices of the images to train on.
        held_out: Indices of the images to evaluate on.
        settings: Hyperparameters.
        regularization: Dropout, mixup and the learning rate of the layer.

    Attributes:
        state: Everything that training changes, by name.
    """

    def __init__(
        self,
        split: NetworkSplit,
        data: ActivationData,
        train: NDArray[np.int64],
        held_out: NDArray[np.int64],
        settings: FineTuningSettings,
        regularization: Regularization,
    ) -> None:
        self._data, self._train, self._held_out = data, train, held_out
        self._batch_size, self._mixup = settings.batch_size, regularization.mixup
        self._steps = math.ceil(len(train) / settings.batch_size)  # every step has a full batch
        suffix = split.suffix
        self._shape = split.shape
        torch.manual_seed(settings.seed)
        with torch.inference_mode():
            width = suffix(torch.zeros(1, *split.shape)).shape[1]
        layer = ClassifierLayer(width, len(data.classes), regularization.dropout)
        self._model = nn.Sequential(suffix, layer).to(memory_format=torch.channels_last)
        self._averaged = make_average(self._model, self._steps)
        self._optimizer = make_optimizer(
            suffix, layer, settings.learning_rate, regularization.head_factor
        )
        self._scheduler = make_scheduler(self._optimizer, settings.epochs * self._steps)
        self._sampler = EpochSampler(
            data.targets[train],
            self._steps * settings.batch_size,
            settings.seed,
            DistributedContext(),
        )
        self.state: dict[str, Any] = {
            "model": self._model,
            "averaged": self._averaged,
            "optimizer": self._optimizer,
            "scheduler": self._scheduler,
        }

    def train_epoch(self, epoch: int) -> EpochMetrics:
        """Train one epoch, counted from 1, and return loss, accuracy and last learning rate."""
        set_training_mode(self._model, [self._model])
        self._sampler.epoch = epoch
        sums, learning_rate = torch.zeros(2), 0.0
        for activations, targets in self._load_epoch():
            learning_rate = float(self._scheduler.get_last_lr()[0])
            sums += self._step(activations, targets)
        loss, accuracy = (sums / self._steps).tolist()
        return {"train_loss": loss, "train_accuracy": accuracy, "rate": learning_rate}

    def evaluate(self) -> EpochMetrics:
        """Return accuracy and macro-F1 of the averaged weights on the held-out images."""
        logits = _run(self._averaged, self._data.cache, self._held_out)
        targets = self._data.targets[self._held_out]
        metrics = compute_metrics(targets, logits.argmax(axis=1), self._data.classes)
        return {"valid_accuracy": metrics.accuracy, "valid_macro_f1": metrics.macro_f1}

    def compute_features(self) -> NDArray[np.float32]:
        """Return the features of all images with the averaged weights, (N, D) float32."""
        return compute_features(
            self._averaged.module.get_submodule("0"), self._data.cache, len(self._data.targets)
        )

    def load_averaged(self) -> None:
        """Load the averaged weights into the suffix and prepare it for inference."""
        self._model.load_state_dict(self._averaged.module.state_dict())
        self._model.to(memory_format=torch.contiguous_format)
        self._model.eval().requires_grad_(True)

    def time_step(self) -> float:
        """Return the seconds of a training step on an idle machine; the weights change."""
        set_training_mode(self._model, [self._model])
        targets = torch.zeros(self._batch_size, dtype=torch.int64)
        activations = torch.randn(self._batch_size, *self._shape)
        return min(time_idle(lambda: self._step(activations, targets)) for _ in range(TIMED_STEPS))

    def _load_epoch(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        keys = list(self._sampler)
        for start in range(0, len(keys), self._batch_size):
            batch = keys[start : start + self._batch_size]
            indices = self._train[[index for index, _ in batch]]
            mirrored = [
                self._data.cache.has_mirror_images and bool(seed is not None and seed % 2)
                for _, seed in batch
            ]
            activations = self._data.cache.take(indices.tolist(), mirrored)
            yield activations, torch.from_numpy(self._data.targets[indices])

    def _step(self, activations: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss and the accuracy of the batch, (2,) float32."""
        batch = mix(activations, targets, self._mixup)
        logits = self._model(_to_channels_last(batch.inputs))
        loss = batch.compute_loss(logits)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._averaged.update_parameters(self._model)
        self._scheduler.step()
        accuracy = (logits.argmax(dim=1) == targets).float().mean()
        return torch.stack([loss.detach(), accuracy])


def time_idle(run: Callable[[], object]) -> float:
    """Return the seconds of a call on an idle machine, from the CPU time of all threads."""
    started = time.process_time()
    run()
    return (time.process_time() - started) / min(torch.get_num_threads(), granted_cpus())


def compute_features(suffix: nn.Module, cache: ActivationCache, count: int) -> NDArray[np.float32]:
    """Return the features of the first `count` images of a cache, (count, D) float32."""
    return _run(suffix, cache, np.arange(count))


def _run(
    model: nn.Module, cache: ActivationCache, indices: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the outputs of a model for the activations of images, (N, D) float32."""
    model.eval()
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(indices), EVALUATION_BATCH):
            batch = indices[start : start + EVALUATION_BATCH].tolist()
            activations = cache.take(batch, [False] * len(batch))
            outputs.append(model(_to_channels_last(activations)).float().numpy())
    return np.concatenate(outputs)


def _to_channels_last(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
