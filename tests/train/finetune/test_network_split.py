import pytest
import torch
from torch import nn

from boats_runtime.errors import UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune.network_split import (
    SplitError,
    choose_blocks,
    copy_split,
    normalize,
    split_network,
)
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from support.fine_tuning import make_network

HEIGHT, WIDTH = 64, 160


class TwoPaths(nn.Module):
    """Two convolutions of the image: no single tensor leads from one to the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = (self.first(image) + self.second(image)).mean(dim=(2, 3))
        return values


class Branching(TwoPaths):
    """The second convolution depends on the values of the first one."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.first(image)
        return values.mean(dim=(2, 3)) if values.sum() > 0 else self.second(image).mean(dim=(2, 3))


def make(backbone: nn.Module) -> FeatureNetwork:
    return FeatureNetwork(backbone, Preprocessing(HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("name", "blocks", "shape"),
    [
        ("mobilenet_v2", 8, (64, 4, 10)),  # after features.10
        ("resnet18", 2, (256, 4, 10)),  # after layer3
        ("shufflenet_v2_x0_5", 5, (96, 4, 10)),
    ],
)
def test_choose_blocks__after_the_first_run_with_stride_16(
    name: str, blocks: int, shape: tuple[int, ...]
) -> None:
    network = make(build_backbone(name))
    assert choose_blocks(network, HEIGHT, WIDTH) == blocks
    assert split_network(network, blocks, HEIGHT, WIDTH).shape == shape


def test_choose_blocks__last_third_without_such_a_run() -> None:
    network = FeatureNetwork(build_backbone("vit_b_32"), Preprocessing(224, 224))
    assert choose_blocks(network, 224, 224) == 5  # of 13


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_split_network__parts_compute_the_features(blocks: int) -> None:
    network = make(build_backbone("mobilenet_v2"))
    split = split_network(network, blocks, HEIGHT, WIDTH)
    pixels = torch.randint(0, 256, (2, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    with torch.inference_mode():
        features = split.suffix(split.prefix(normalize(network, pixels)))
        torch.testing.assert_close(features, network(pixels), rtol=1e-4, atol=1e-5)


def test_split_network__suffix_is_a_part_of_the_network() -> None:
    network = make_network()
    split = split_network(network, 1, HEIGHT, WIDTH)
    weights = {id(weight) for weight in network.parameters()}
    assert {id(weight) for weight in split.suffix.parameters()} < weights
    assert weights.isdisjoint(id(weight) for weight in copy_split(split).suffix.parameters())


@pytest.mark.parametrize("blocks", [0, 4])
def test_split_network__number_of_blocks(blocks: int) -> None:
    with pytest.raises(UsageError, match=f"--unfreeze {blocks}: this backbone has blocks 1 to 3"):
        split_network(make_network(), blocks, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("backbone", "message"), [(TwoPaths, "no single tensor"), (Branching, "cannot be traced")]
)
def test_split_network__impossible(backbone: type[nn.Module], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        split_network(make(backbone()), 1, HEIGHT, WIDTH)
