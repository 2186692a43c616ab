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
    blocks = find_blocks(build(name))
    count, last = BLOCKS[name]
    assert len(blocks) == count
    assert " ".join(type(module).__name__ for module in blocks[-1]) == last


@pytest.mark.parametrize("name", sorted(set(BLOCKS) - {"vit_b_16"}))
def test_find_blocks__every_weight_is_in_one_block(name: str) -> None:
    backbone = build(name)
    weights = [
        id(weight)
        for block in find_blocks(backbone)
        for module in block
        for weight in module.parameters()
    ]
    assert len(weights) == len(set(weights))
    assert set(weights) == {id(weight) for weight in backbone.parameters()}


def test_unfreeze__last_blocks() -> None:
    backbone = build("resnet18")
    modules = unfreeze(backbone, "2")
    assert [type(module).__name__ for module in modules] == ["BasicBlock"] * 2
    assert {name.split(".")[0] for name in trainable(backbone)} == {"layer4"}
    unfreeze(backbone, "1")
    assert {".".join(name.split(".")[:2]) for name in trainable(backbone)} == {"layer4.1"}


def test_unfreeze__number_of_all_blocks() -> None:
    backbone = build("resnet18")
    unfreeze(backbone, "9")
    assert trainable(backbone) == {name for name, _ in backbone.named_parameters()}


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
