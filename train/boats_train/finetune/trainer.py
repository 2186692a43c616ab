"""What happens in an epoch of fine-tuning; the recipe's sources are in `boats_train.finetune.recipe`."""  # noqa: E501

import math
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from boats_data.dataset import LabeledImages
from boats_metrics.classification import SplitMetrics, compute_metrics
from boats_runtime.errors import UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune.augmentation import augment, draw_change
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.freezing import unfreeze
from boats_train.finetune.loop import Row, Stateful
from boats_train.finetune.sampling import draw_photos, load_batches
from boats_train.models.feature_network import FeatureNetwork

SMOOTHING = 0.1
"""Share of each target that is spread over all classes."""

DECAY = 0.05
"""AdamW's weight decay."""

HEAD_SPEED = 10.0
"""How much faster the new layer learns."""

WARM_UP = 0.1
"""Share of all steps in which the learning rate rises."""

SETTLING = 16
"""Photos that give BatchNorm its statistics in a network with random weights."""


@dataclass(frozen=True)
class Recipe:
    """What a user decides of a fine-tuning.

    Attributes:
        unfreeze: How many of the last blocks learn, 1 or more, or `all`.
        learning_rate: Highest learning rate of the backbone, above 0.
        epochs: How many at most, 1 or more; as many photos are drawn in one as there are.
        batch_size: Photos a step over all processes, a multiple of their number.
        seed: Of the layer's weights, the photos drawn, their changes, and dropout.
    """

    unfreeze: str
    learning_rate: float
    epochs: int
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Photos:
    """What is learned, what is only measured, and how a photo becomes pixels.

    Attributes:
        train: Photos that can all be decoded, as `keep_readable` leaves them; at least 1.
        valid: Likewise.
        classes: The K class names.
        preprocessing: Makes the network's input.
    """

    train: LabeledImages
    valid: LabeledImages
    classes: tuple[str, ...]
    preprocessing: Preprocessing


def schedule(step: int, steps: int) -> float:
    """Returns the factor of the learning rate at a step, from 0, of all steps.

    It rises in equal steps to 1 during the first `WARM_UP` of them, and then falls along a cosine.
    """
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2


class Learner:
    """A network while it learns, with the layer behind it, its averages and its optimizer.

    Args:
        network: On the device to train on; changed in place.
        photos: To learn from and to measure on.
        recipe: How.
        distributed: This process among those that train together.

    Attributes:
        parts: Everything that learning changes, by name, for a checkpoint.

    Raises:
        UsageError: The backbone has fewer blocks, or the batch can't be shared evenly.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        photos: Photos,
        recipe: Recipe,
        distributed: DistributedContext,
    ) -> None:
        if recipe.batch_size % distributed.world_size:
            raise UsageError(
                f"--batch-size {recipe.batch_size}: the {distributed.world_size} processes share it evenly, "  # noqa: E501
                f"give a multiple of {distributed.world_size}"
            )
        self._network, self._photos, self._recipe, self._distributed = (
            network,
            photos,
            recipe,
            distributed,
        )
        self._device = network.mean.device
        # Every step has a full batch, whatever the number of photos.
        self._steps = math.ceil(len(photos.train.paths) / recipe.batch_size)
        self._learning = unfreeze(network.backbone, recipe.unfreeze)
        _settle_norms(network, photos, recipe.seed)
        torch.manual_seed(recipe.seed)
        self._layer = nn.Linear(_count_features(network, photos.preprocessing), len(photos.classes))
        self._model = nn.Sequential(network, self._layer).to(self._device)
        self._model.to(memory_format=torch.channels_last)
        # Its buffers are copies: averaging would round those that are whole numbers, and no
        # statistics change that could be averaged.
        self._averaged = AveragedModel(
            self._model,
            multi_avg_fn=get_ema_multi_avg_fn(math.exp(-1 / self._steps)),  # type: ignore[no-untyped-call]
        )
        self._best = deepcopy(self._model)
        self._parallel = distributed.wrap(self._model)
        self._optimizer = _make_optimizer(network, self._layer)
        amp = self._device.type == "cuda"
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=amp)
        self._autocast = torch.autocast(self._device.type, torch.float16, enabled=amp)
        self._loss = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
        self.parts: dict[str, Stateful] = {
            "model": self._model,
            "averaged": self._averaged,
            "best": self._best,
            "optimizer": self._optimizer,
            "scaler": self._scaler,
        }

    def describe(self) -> str:
        """Returns a line about what will be done."""
        learned = sum(weight.numel() for weight in self._model.parameters() if weight.requires_grad)
        what = "all" if self._recipe.unfreeze == "all" else f"last {self._recipe.unfreeze}"
        return (
            f"fine-tuning the backbone's blocks ({what}): {learned:,} weights, "
            f"{len(self._photos.train.paths)} photos, {self._steps} steps an epoch of "
            f"{self._recipe.batch_size} photos, {self._distributed.world_size} x {self._device.type}"  # noqa: E501
        )

    def learn(self, epoch: int) -> Row:
        """Trains one epoch, from 1."""
        self._set_modes()
        recipe, train, distributed = self._recipe, self._photos.train, self._distributed
        order = draw_photos(train.targets, self._steps * recipe.batch_size, recipe.seed, epoch)
        own = np.arange(distributed.rank, len(order), distributed.world_size)
        share = recipe.batch_size // distributed.world_size
        batches = load_batches(
            self._photos.preprocessing, [train.paths[index] for index in order[own]], share
        )
        sums = torch.zeros(2, device=self._device)
        for step, pixels in enumerate(batches):
            places = own[step * share : (step + 1) * share]
            changes = [draw_change(recipe.seed, epoch, int(place)) for place in places]
            inputs = augment(torch.from_numpy(pixels).to(self._device), changes)
            targets = torch.from_numpy(train.targets[order[places]]).to(self._device)
            sums += self._step(inputs, targets, (epoch - 1) * self._steps + step)
        loss, right = (
            distributed.all_reduce_sum(sums) / (self._steps * distributed.world_size)
        ).tolist()
        rate = recipe.learning_rate * schedule(epoch * self._steps - 1, recipe.epochs * self._steps)
        return {"train_loss": loss, "train_accuracy": right, "rate": rate}

    def measure(self) -> tuple[SplitMetrics, float]:
        """Measures the averaged weights on the valid photos; their mean loss comes second."""
        valid, distributed = self._photos.valid, self._distributed
        own = np.arange(distributed.rank, len(valid.paths), distributed.world_size)
        batch = max(1, self._recipe.batch_size // distributed.world_size)
        batches = load_batches(
            self._photos.preprocessing, [valid.paths[index] for index in own], batch
        )
        predicted = torch.zeros(len(valid.paths), dtype=torch.int64)
        total = torch.zeros(1)
        self._averaged.eval()
        with torch.inference_mode(), self._autocast:
            for step, pixels in enumerate(batches):
                places = own[step * batch : (step + 1) * batch]
                logits = self._averaged(torch.from_numpy(pixels).to(self._device))
                logits = logits.float().cpu()
                loss = self._loss(logits, torch.from_numpy(valid.targets[places]))
                total += loss * len(places)
                predicted[places] = logits.argmax(dim=1)
        classes: NDArray[np.int64] = distributed.all_reduce_sum(predicted).numpy()
        loss = float(distributed.all_reduce_sum(total)) / len(valid.paths)
        return compute_metrics(valid.targets, classes, self._photos.classes), loss

    def keep(self) -> None:
        """Remembers the averaged weights as the best."""
        self._best.load_state_dict(self._averaged.module.state_dict())

    def finish(self) -> nn.Linear:
        """Gives the network the best weights, as one that is not trained; returns its layer."""
        self._model.load_state_dict(self._best.state_dict())
        self._model.to(memory_format=torch.contiguous_format)
        self._model.eval().requires_grad_(True)
        return self._layer

    def _step(self, inputs: torch.Tensor, targets: torch.Tensor, step: int) -> torch.Tensor:
        """Does one step; returns the mean loss and the share predicted rightly, `(2,) float32`."""
        factor = schedule(step, self._recipe.epochs * self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * factor * group["speed"]
        with self._autocast:
            logits = self._parallel(inputs)
            loss = self._loss(logits, targets)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._averaged.update_parameters(self._model)
        right = (logits.argmax(dim=1) == targets).float().mean()
        return torch.stack([loss.detach(), right])

    def _set_modes(self) -> None:
        self._model.eval()
        for module in self._learning:
            module.train()
        for module in self._model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _settle_norms(network: FeatureNetwork, photos: Photos, seed: int) -> None:
    """Gives BatchNorm the statistics of a few photos in a network with random weights.

    This is their data-dependent initialisation (Mishkin & Matas 2016,
    https://arxiv.org/abs/1511.06422): a signal would fade out or swell with every layer. Weights
    that were trained come with statistics, or with what took their place in the biases.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms or any(_is_trained(norm) for norm in norms):
        return
    drawn = draw_photos(photos.train.targets, SETTLING, seed, epoch=0)
    paths = [photos.train.paths[index] for index in drawn]
    pixels = next(load_batches(photos.preprocessing, paths, SETTLING))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = None  # the mean itself, not a moving one
    with torch.no_grad():
        network(torch.from_numpy(pixels).to(network.mean.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def _is_trained(norm: nn.BatchNorm2d) -> bool:
    held = (norm.running_mean, norm.bias)
    return any(values is not None and bool(values.any()) for values in held)


def _make_optimizer(network: nn.Module, layer: nn.Module) -> torch.optim.AdamW:
    groups = []
    for module, speed in ((network, 1.0), (layer, HEAD_SPEED)):
        learned = [weight for weight in module.parameters() if weight.requires_grad]
        matrices = [weight for weight in learned if weight.ndim > 1]
        vectors = [weight for weight in learned if weight.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": DECAY, "speed": speed})
        groups.append({"params": vectors, "weight_decay": 0.0, "speed": speed})
    return torch.optim.AdamW(groups)


def _count_features(network: FeatureNetwork, preprocessing: Preprocessing) -> int:
    pixels = torch.zeros(1, preprocessing.height, preprocessing.width, 3, dtype=torch.uint8)
    with torch.inference_mode():
        return int(network(pixels.to(network.mean.device)).shape[1])
