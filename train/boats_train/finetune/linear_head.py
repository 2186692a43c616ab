"""Training in memory with Adam: the linear head on ready features, and the small CNN.

The report trained its head through a frozen backbone in training mode, so that the BatchNorm
statistics drifted with every batch. Here the backbone stays in evaluation mode: a photo's features
never change, are computed once, and a hundred epochs only touch a small matrix.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from boats_train.finetune.loop import Epochs, Row


@dataclass(frozen=True)
class ArrayDataset:
    """What is learned from, or measured on.

    Attributes:
        inputs: A network's input, one row a photo: features `(N, D) float32`, or pixels
            `(N, H, W, 3) uint8`.
        targets: Class indices `(N,) int64`.
    """

    inputs: NDArray[Any]
    targets: NDArray[np.int64]


def train_in_memory(
    model: nn.Module,
    train: ArrayDataset,
    valid: ArrayDataset,
    *,
    rate: float,
    epochs: int,
    batch: int,
    seed: int,
    folder: Path,
    resume: bool,
) -> list[Row]:
    """Trains a model in place, on the cross-entropy of its logits.

    Args:
        model: From inputs to logits `(N, K) float32`; in evaluation mode afterwards.
        train: What is learned.
        valid: What is only measured.
        rate: Adam's learning rate, above 0.
        epochs: How often all photos are seen.
        batch: Photos a step.
        seed: Of the order of the photos and of dropout.
        folder: Where `Epochs` keeps its checkpoint.
        resume: Whether to go on from it.

    Returns:
        The curves, a row an epoch.

    Raises:
        RunError: The loss is not a number any more.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    inputs, targets = torch.from_numpy(train.inputs), torch.from_numpy(train.targets)

    def epoch(_: int) -> Row:
        model.train()
        total, right = 0.0, 0
        order = torch.randperm(len(targets))
        for chosen in torch.split(order, batch):
            logits = model(inputs[chosen])
            loss = nn.functional.cross_entropy(logits, targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(chosen)
            right += int((logits.argmax(1) == targets[chosen]).sum())
        model.eval()
        valid_loss, valid_accuracy = _measure(model, valid, batch)
        return {
            "train_loss": total / len(targets),
            "train_accuracy": right / len(targets),
            "valid_loss": valid_loss,
            "valid_accuracy": valid_accuracy,
        }

    loop = Epochs({"model": model, "optimizer": optimizer}, folder, resume=resume, seed=seed)
    rows = loop.run(epochs, epoch, "epochs")
    model.eval()
    return rows


def to_logistic_regression(layer: nn.Linear) -> LogisticRegression:
    """Turns a linear layer, D to K, into the scikit-learn classifier of the same probabilities."""
    weight = layer.weight.detach().double().cpu().numpy()
    bias = layer.bias.detach().double().cpu().numpy()
    classifier = LogisticRegression()
    classifier.classes_ = np.arange(len(bias))
    if len(bias) == 2:  # scikit-learn keeps one row for two classes
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    classifier.coef_, classifier.intercept_ = weight, bias
    classifier.n_features_in_ = weight.shape[1]
    return classifier


@contextmanager
def single_thread() -> Iterator[None]:
    """Keeps PyTorch to one thread: a head's step is too small to be worth waking another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _measure(model: nn.Module, data: ArrayDataset, batch: int) -> tuple[float, float]:
    """Returns the mean loss and the accuracy."""
    total, right = 0.0, 0
    inputs, targets = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    with torch.inference_mode():
        for chosen in torch.split(torch.arange(len(targets)), batch):
            logits = model(inputs[chosen])
            loss = nn.functional.cross_entropy(logits, targets[chosen], reduction="sum")
            total += float(loss)
            right += int((logits.argmax(1) == targets[chosen]).sum())
    return total / len(targets), right / len(targets)
