"""One epoch of fine-tuning; `boats_train.finetune.recipe` lists the sources of the recipe."""

import math
import warnings
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from boats_data.dataset import LabeledImages
from boats_metrics.classification import compute_metrics
from boats_runtime.errors import UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.freezing import unfreeze
from boats_train.finetune.linear_head import HeadSettings
from boats_train.finetune.loop import EpochMetrics
from boats_train.finetune.optimization import (
    LABEL_SMOOTHING,
    ClassifierLayer,
    Regularization,
    list_batchnorms,
    make_average,
    make_optimizer,
    make_scheduler,
    mix,
    set_training_mode,
)
from boats_train.finetune.sampling import EpochSampler, ImageLoader, Key
from boats_train.models.feature_network import FeatureNetwork

STATISTICS_IMAGES = 16
"""Images from which the BatchNorm statistics of random weights are computed."""


@dataclass(frozen=True)
class FineTuningSettings(HeadSettings):
    """Fine-tuning hyperparameters.

    The learning rate is the highest one of the backbone, the number of epochs the largest, the
    batch size that of all processes together. `unfreeze` is the number of last blocks to train, 1
    or more, or `all`.
    """

    unfreeze: str


@dataclass(frozen=True)
class FineTuningData:
    """Images to train on and to evaluate on; all can be decoded, as after `keep_readable`."""

    train: LabeledImages
    valid: LabeledImages
    classes: tuple[str, ...]
    preprocessing: Preprocessing


class Trainer:
    """Network, classifier layer, averaged weights and optimizer of one training.

    The network is on the training device and is changed in place.

    Attributes:
        state: Everything that training changes, by name.

    Raises:
        UsageError: If the backbone has fewer blocks, or the processes cannot share a batch evenly.
        DataError: If an image cannot be decoded any more.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        data: FineTuningData,
        settings: FineTuningSettings,
        distributed: DistributedContext,
        regularization: Regularization = Regularization(),  # noqa: B008
    ) -> None:
        world_size = distributed.world_size
        batch_size, remainder = divmod(settings.batch_size, world_size)
        if remainder:
            raise UsageError(
                f"--batch-size {settings.batch_size}: cannot be shared evenly by {world_size} "
                f"processes, give a multiple of {world_size}"
            )
        self._data, self._settings, self._distributed = data, settings, distributed
        self._device = network.mean.device
        # Every step has a full batch, whatever the number of images.
        self._steps = math.ceil(len(data.train.paths) / settings.batch_size)
        self._trainable = unfreeze(network.backbone, settings.unfreeze)
        init_batchnorm_statistics(network, data.train, data.preprocessing, settings.seed)
        torch.manual_seed(settings.seed)
        width = _count_features(network, data.preprocessing)
        self._layer = ClassifierLayer(width, len(data.classes), regularization.dropout)
        self._mixup = regularization.mixup
        self._model = nn.Sequential(network, self._layer).to(self._device)
        self._model.to(memory_format=torch.channels_last)
        self._averaged = make_average(self._model, self._steps)
        self._best = deepcopy(self._model)
        self._parallel = distributed.wrap(self._model)
        self._optimizer = make_optimizer(
            network, self._layer, settings.learning_rate, regularization.head_factor
        )
        self._scheduler = make_scheduler(self._optimizer, settings.epochs * self._steps)
        amp = self._device.type == "cuda"
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=amp)
        self._autocast = torch.autocast(self._device.type, torch.float16, enabled=amp)
        self._loss = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
        self.state: dict[str, Any] = {
            "model": self._model,
            "averaged": self._averaged,
            "best": self._best,
            "optimizer": self._optimizer,
            "scheduler": self._scheduler,
            "scaler": self._scaler,
        }
        self._sampler = EpochSampler(
            data.train.targets, self._steps * settings.batch_size, settings.seed, distributed
        )
        indices = range(distributed.rank, len(data.valid.paths), world_size)
        valid_keys: list[Key] = [(index, None) for index in indices]
        self._train_loader = ImageLoader(
            data.train, data.preprocessing, self._sampler, batch_size, world_size
        )
        self._valid_loader = ImageLoader(
            data.valid, data.preprocessing, valid_keys, batch_size, world_size
        )

    def describe(self) -> str:
        """Return a one-line summary of the training."""
        trainable = sum(x.numel() for x in self._model.parameters() if x.requires_grad)
        amount = self._settings.unfreeze
        blocks = "all" if amount == "all" else f"last {amount}"
        return (
            f"fine-tuning the backbone's blocks ({blocks}): {trainable:,} weights, "
            f"{len(self._data.train.paths)} images, {self._steps} steps an epoch of "
            f"{self._settings.batch_size} images, "
            f"{self._distributed.world_size} x {self._device.type}"
        )

    def train_epoch(self, epoch: int) -> EpochMetrics:
        """Train one epoch, counted from 1, and return loss, accuracy and last learning rate."""
        set_training_mode(self._model, [*self._trainable, self._layer])
        self._sampler.epoch = epoch
        sums = torch.zeros(2, device=self._device)
        learning_rate = 0.0
        for pixels, targets in self._train_loader:
            learning_rate = float(self._scheduler.get_last_lr()[0])
            sums += self._step(pixels.to(self._device), targets.to(self._device))
        batches = self._steps * self._distributed.world_size
        loss, accuracy = (self._distributed.all_reduce_sum(sums) / batches).tolist()
        return {"train_loss": loss, "train_accuracy": accuracy, "rate": learning_rate}

    def evaluate(self) -> EpochMetrics:
        """Return loss, accuracy and macro-F1 of the averaged weights on the validation images."""
        valid, distributed = self._data.valid, self._distributed
        predictions = torch.zeros(len(valid.paths), dtype=torch.int64)
        share = predictions[distributed.rank :: distributed.world_size]  # a view
        count, total_loss = 0, torch.zeros(1)
        self._averaged.eval()
        with torch.inference_mode(), self._autocast:
            for pixels, targets in self._valid_loader:
                logits = self._averaged(pixels.to(self._device)).float().cpu()
                total_loss += self._loss(logits, targets) * len(targets)
                share[count : count + len(targets)] = logits.argmax(dim=1)
                count += len(targets)
        predicted = distributed.all_reduce_sum(predictions).numpy()
        loss = float(distributed.all_reduce_sum(total_loss)) / len(valid.paths)
        metrics = compute_metrics(valid.targets, predicted, self._data.classes)
        return {
            "valid_loss": loss,
            "valid_accuracy": metrics.accuracy,
            "valid_macro_f1": metrics.macro_f1,
        }

    def save_best(self) -> None:
        """Save the averaged weights as the best ones."""
        self._best.load_state_dict(self._averaged.module.state_dict())

    def load_best(self) -> nn.Linear:
        """Load the best weights into the network, prepare it for inference, return its layer."""
        self._model.load_state_dict(self._best.state_dict())
        self._model.to(memory_format=torch.contiguous_format)
        self._model.eval().requires_grad_(True)
        return self._layer

    def _step(self, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss and the accuracy of the batch, (2,) float32."""
        inputs = pixels.float() if self._mixup else pixels
        batch = mix(inputs, targets, self._mixup)
        with self._autocast:
            logits = self._parallel(batch.inputs)
            loss = batch.compute_loss(logits)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._averaged.update_parameters(self._model)
        with warnings.catch_warnings():
            # GradScaler skips the first optimizer steps while it searches for a scale.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            self._scheduler.step()
        accuracy = (logits.argmax(dim=1) == targets).float().mean()
        return torch.stack([loss.detach(), accuracy])


def init_batchnorm_statistics(
    network: FeatureNetwork, images: LabeledImages, preprocessing: Preprocessing, seed: int
) -> None:
    """Set the BatchNorm statistics of random weights to those of a few training images.

    With data-dependent initialization (Mishkin & Matas 2016, https://arxiv.org/abs/1511.06422) the
    signal neither vanishes nor grows from layer to layer. Pretrained weights keep their statistics,
    or the biases that replace them.
    """
    norms = list_batchnorms(network)
    values = [value for norm in norms for value in (norm.running_mean, norm.bias)]
    if not norms or any(value is not None and value.any() for value in values):
        return
    sampler = EpochSampler(images.targets, STATISTICS_IMAGES, seed, DistributedContext())
    loader = ImageLoader(images, preprocessing, sampler, STATISTICS_IMAGES)
    pixels, _ = next(iter(loader))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the mean itself instead of a moving average
    with torch.no_grad():
        network(pixels.to(network.mean.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def _count_features(network: FeatureNetwork, preprocessing: Preprocessing) -> int:
    pixels = torch.zeros(1, preprocessing.height, preprocessing.width, 3, dtype=torch.uint8)
    with torch.inference_mode():
        return int(network(pixels.to(network.mean.device)).shape[1])
