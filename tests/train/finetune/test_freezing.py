import pytest
import torch
from torch import nn

from boats_runtime.errors import UsageError
from boats_train.finetune.freezing import find_blocks, unfreeze
from boats_train.models.backbone import build_backbone

BLOCKS = {
    "convnext_tiny": (22, "CNBlock LayerNorm2d"),
    "densenet121": (8, "_DenseBlock BatchNorm2d"),
    "efficientnet_b0": (18, "Conv2dNormActivation"),
    "googlenet": (12, "Inception"),
    "mobilenet_v2": (19, "Conv2dNormActivation"),
    "mobilenet_v3_small": (13, "Conv2dNormActivation"),
    "resnet18": (9, "BasicBlock"),
    "resnet50": (17, "Bottleneck"),
    "squeezenet1_1": (9, "Fire"),
    "vgg11_bn": (8, "Conv2d BatchNorm2d"),
    "vit_b_16": (13, "EncoderBlock LayerNorm"),
}
"""Number of blocks, and types of the modules in the last block."""


def build(name: str) -> nn.Module:
    """Return a backbone without memory for its weights."""
    with torch.device("meta"):
        return build_backbone(name)


def trainable(backbone: nn.Module) -> set[str]:
    return {name for name, weight in backbone.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("name", BLOCKS)
def test_find_blocks__units_of_torchvision(name: str) -> None:
    backbone = build(name)
    blocks = find_blocks(backbone)
    count, last = BLOCKS[name]
    assert len(blocks) == count
    assert " ".join(type(module).__name__ for module in blocks[-1]) == last
    modules = [module for block in blocks for module in block]
    weights = [id(weight) for module in modules for weight in module.parameters()]
    assert len(weights) == len(set(weights))
    outside = {key for key, weight in backbone.named_parameters() if id(weight) not in weights}
    assert outside == ({"class_token", "encoder.pos_embedding"} if name == "vit_b_16" else set())


@pytest.mark.parametrize(
    ("amount", "first"),
    [("1", "layer4.1.conv1.weight"), ("2", "layer4.0.conv1.weight"), ("9", "conv1.weight")],
)
def test_unfreeze__last_blocks(amount: str, first: str) -> None:
    backbone = build("resnet18")
    unfreeze(backbone, amount)
    names = [name for name, _ in backbone.named_parameters()]
    assert trainable(backbone) == set(names[names.index(first) :])


def test_unfreeze__all_includes_parameters_outside_of_blocks() -> None:
    backbone = build("vit_b_16")
    assert unfreeze(backbone, "all") == [backbone]
    assert trainable(backbone) == {name for name, _ in backbone.named_parameters()}
    unfreeze(backbone, "13")
    assert "encoder.pos_embedding" not in trainable(backbone)


@pytest.mark.parametrize("amount", ["0", "10"])
def test_unfreeze__number_out_of_range(amount: str) -> None:
    with pytest.raises(UsageError, match=f"--unfreeze {amount}: .* 1 to 9, or all"):
        unfreeze(build("resnet18"), amount)
