"""Training in memory with Adam: the linear head on extracted features, and the small CNN.

The report trained its head through a frozen backbone in training mode, so that the BatchNorm
statistics drifted with every batch. Here the backbone stays in evaluation mode: the features of an
image never change and are computed once, and an epoch only updates a small matrix.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.functional import cross_entropy

from boats_train.finetune.loop import Checkpoint, EpochMetrics, TrainingLoop


@dataclass(frozen=True)
class ArrayDataset:
    """Features (N, D) float32 or pixels (N, H, W, 3) uint8, and class indices (N,) int64."""

    inputs: NDArray[Any]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class HeadSettings:
    """Training hyperparameters; the seed determines the order of the images and dropout."""

    learning_rate: float
    epochs: int
    batch_size: int
    seed: int


def train_in_memory(
    model: nn.Module,
    train: ArrayDataset,
    valid: ArrayDataset,
    settings: HeadSettings,
    checkpoint: Checkpoint | None = None,
) -> list[EpochMetrics]:
    """Train a model in place with the cross-entropy loss.

    The model maps inputs to logits, (N, K) float32, and is in evaluation mode afterwards. Batches
    are moved to its device. The returned metrics of each epoch are loss and accuracy of both sets.

    Raises:
        RunError: If the loss is not finite, or the checkpoint cannot be used.
        OutputError: If the checkpoint cannot be written.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    count, device = len(train.targets), next(model.parameters()).device

    def train_epoch(_: int) -> EpochMetrics:
        model.train()
        total_loss, correct = 0.0, 0
        order = torch.randperm(count)
        for inputs, targets in _make_batches(train, order, settings.batch_size, device):
            logits = model(inputs)
            loss = cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total_loss += float(loss.detach()) * len(targets)
            correct += int((logits.argmax(1) == targets).sum())
        metrics = {"train_loss": total_loss / count, "train_accuracy": correct / count}
        return metrics | _evaluate(model, valid, settings.batch_size, device)

    state = {"model": model, "optimizer": optimizer}
    history = TrainingLoop(state, checkpoint, settings.seed).run(settings.epochs, train_epoch)
    model.eval()
    return history


def to_logistic_regression(layer: nn.Linear) -> LogisticRegression:
    """Convert a linear layer, D to K, to a scikit-learn classifier with the same probabilities."""
    weight = layer.weight.detach().double().cpu().numpy()
    bias = layer.bias.detach().double().cpu().numpy()
    classifier = LogisticRegression()
    classifier.classes_ = np.arange(len(bias))
    if len(bias) == 2:  # scikit-learn stores one row for two classes
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    classifier.coef_, classifier.intercept_ = weight, bias
    classifier.n_features_in_ = weight.shape[1]
    return classifier


@contextmanager
def single_thread() -> Iterator[None]:
    """Limit PyTorch to one thread, which is faster for the small steps of a linear head."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _evaluate(
    model: nn.Module, data: ArrayDataset, batch_size: int, device: torch.device
) -> EpochMetrics:
    model.eval()
    total_loss, correct, count = 0.0, 0, len(data.targets)
    with torch.inference_mode():
        for inputs, targets in _make_batches(data, torch.arange(count), batch_size, device):
            logits = model(inputs)
            total_loss += float(cross_entropy(logits, targets, reduction="sum"))
            correct += int((logits.argmax(1) == targets).sum())
    return {"valid_loss": total_loss / count, "valid_accuracy": correct / count}


def _make_batches(
    data: ArrayDataset, order: torch.Tensor, batch_size: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield inputs and targets of each batch on the device."""
    inputs, targets = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    for batch in torch.split(order, batch_size):
        yield inputs[batch].to(device), targets[batch].to(device)
