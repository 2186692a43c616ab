"""Candidates of a search: a backbone with its weights, an image size and a precision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from boats_data.image_sizes import Size
from boats_train.models.backbone import build_backbone, load_weights, make_preprocessing
from boats_train.models.feature_network import FeatureNetwork, check_network
from boats_train.runs.config import TrainConfig

BYTES_PER_WEIGHT = {"fp32": 4, "int8": 1}


@dataclass(frozen=True)
class Architecture:
    """A backbone with its weights at an image size.

    Attributes:
        backbone: Name of the backbone.
        weights: Value of `--weights`.
        size: Height and width of the network input in pixels.
        multiply_adds: Multiplications with additions for one image.
        parameters: Number of weights of the backbone.
    """

    backbone: str
    weights: str
    size: Size
    multiply_adds: int = 0
    parameters: int = 0

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.backbone} {self.size[0]}x{self.size[1]}"

    def configure(self, config: TrainConfig) -> TrainConfig:
        """Return a configuration of training with this backbone and size."""
        height, width = self.size
        return replace(
            config, backbone=self.backbone, weights=self.weights, height=height, width=width,
            image_size=f"{height}x{width}",
        )  # fmt: skip

    def get_min_megabytes(self, precision: str) -> float:
        """Return a lower bound of the size of the exported file in 10^6 bytes: its weights."""
        return self.parameters * BYTES_PER_WEIGHT[precision] / 1e6


def make_network(architecture: Architecture) -> FeatureNetwork:
    """Build the network of an architecture with its weights.

    Raises:
        UsageError: If the backbone or its weights are not available, or it does not accept images
            of this size.
        DataError: If the weights belong to another network.
    """
    name, size = architecture.backbone, architecture.size
    preprocessing = make_preprocessing(name, *size)
    torch.manual_seed(0)  # for random weights
    backbone = build_backbone(name, size)
    load_weights(backbone, name, architecture.weights, size)
    network = FeatureNetwork(backbone, preprocessing)
    check_network(network, name, preprocessing)
    return network.to("cuda" if torch.cuda.is_available() else "cpu")


def measure_architecture(architecture: Architecture) -> Architecture:
    """Return the architecture with its multiply-adds and its number of weights.

    Raises:
        UsageError, DataError: As `make_network`.
    """
    network = make_network(architecture)
    pixels = torch.zeros(1, *architecture.size, 3, dtype=torch.uint8, device=network.mean.device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(pixels)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    # An addition and a multiplication are two operations.
    return replace(
        architecture, multiply_adds=counter.get_total_flops() // 2, parameters=parameters
    )


def order_by_cost(architectures: Sequence[Architecture]) -> list[Architecture]:
    """Return architectures with the fewest multiply-adds first."""
    return sorted(architectures, key=lambda item: (item.multiply_adds, item.name))
