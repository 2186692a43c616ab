"""Parts of fine-tuning that do not depend on where the batches come from.

`boats_train.finetune.recipe` lists the sources of the elements.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

LABEL_SMOOTHING = 0.1

WEIGHT_DECAY = 0.05

WARM_UP = 0.1
"""Fraction of all steps in which the learning rate rises."""


@dataclass(frozen=True)
class Regularization:
    """What differs between the recipes.

    Attributes:
        head_factor: Learning rate of the new layer relative to that of the backbone.
        dropout: Dropout of the features in training.
        mixup: Both parameters of the beta distribution of the mixing weights (Zhang et al. 2018,
            https://arxiv.org/abs/1710.09412); 0 for none. Inputs are images or activations
            (Verma et al. 2019, https://arxiv.org/abs/1806.05236).
    """

    head_factor: float = 10.0
    dropout: float = 0.0
    mixup: float = 0.0


class ClassifierLayer(nn.Linear):
    """Linear layer from features to classes, with dropout of the features in training."""

    def __init__(self, features: int, classes: int, dropout: float) -> None:
        super().__init__(features, classes)
        self._dropout = dropout

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Return the logits, (N, K), of features, (N, D)."""
        if not (self.training and self._dropout):  # no random number is drawn
            return super().forward(input)
        return super().forward(dropout(input, self._dropout))


@dataclass(frozen=True)
class MixedBatch:
    """A batch mixed with itself in another order; its targets mix by the same weight."""

    inputs: torch.Tensor
    targets: torch.Tensor
    partners: torch.Tensor
    weight: float

    def compute_loss(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of the logits, (B, K)."""
        loss = cross_entropy(logits, self.targets, label_smoothing=LABEL_SMOOTHING)
        if self.weight == 1.0:
            return loss
        other = cross_entropy(logits, self.partners, label_smoothing=LABEL_SMOOTHING)
        return self.weight * loss + (1 - self.weight) * other


def mix(inputs: torch.Tensor, targets: torch.Tensor, mixup: float) -> MixedBatch:
    """Mix the inputs of a batch, float32, with a random weight; `mixup` 0 leaves them unchanged."""
    if not mixup:
        return MixedBatch(inputs, targets, targets, 1.0)
    weight = float(torch.distributions.Beta(mixup, mixup).sample())
    order = torch.randperm(len(targets), device=targets.device)
    mixed = torch.lerp(inputs[order], inputs, weight)
    return MixedBatch(mixed, targets, targets[order], weight)


def schedule(step: int, steps: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, then a cosine decay to zero."""
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


def make_scheduler(optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
    """Return the schedule of the learning rate over all steps of a training."""
    return LambdaLR(optimizer, lambda step: schedule(step, steps))


def make_average(model: nn.Module, steps: int) -> AveragedModel:
    """Return the moving average of the weights over about `steps` steps.

    Buffers are copied, not averaged: averaging would round integers, and none changes.
    """
    average = get_ema_multi_avg_fn(math.exp(-1 / steps))  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=average)


def make_optimizer(
    backbone: nn.Module, layer: nn.Module, learning_rate: float, head_factor: float
) -> torch.optim.AdamW:
    """Return AdamW for the trainable weights of a backbone and its new layer."""
    groups = []
    for module, rate in ((backbone, learning_rate), (layer, head_factor * learning_rate)):
        trainable = [weight for weight in module.parameters() if weight.requires_grad]
        matrices = [weight for weight in trainable if weight.ndim > 1]
        vectors = [weight for weight in trainable if weight.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": WEIGHT_DECAY, "lr": rate})
        groups.append({"params": vectors, "weight_decay": 0.0, "lr": rate})
    return torch.optim.AdamW(groups)


def set_training_mode(model: nn.Module, trainable: list[nn.Module]) -> None:
    """Set the trainable modules to training mode, all others and BatchNorm to evaluation mode."""
    model.eval()
    for module in trainable:
        module.train()
    for norm in list_batchnorms(model):
        norm.eval()


def list_batchnorms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the BatchNorm layers of a model."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
