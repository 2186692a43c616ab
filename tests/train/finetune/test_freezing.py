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
"""How many, and what the last one is."""


def build(name: str) -> nn.Module:
    """Builds a backbone without memory for its weights."""
    with torch.device("meta"):
        return build_backbone(name)


def learned(backbone: nn.Module) -> set[str]:
    return {name for name, weight in backbone.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("name", BLOCKS)
def test_find_blocks__as_torchvision_repeats_them(name: str) -> None:
    blocks = find_blocks(build(name))
    count, last = BLOCKS[name]
    assert len(blocks) == count
    assert " ".join(type(module).__name__ for module in blocks[-1]) == last


@pytest.mark.parametrize("name", sorted(set(BLOCKS) - {"vit_b_16"}))
def test_find_blocks__hold_every_weight_once(name: str) -> None:
    backbone = build(name)
    held = [
        id(weight)
        for block in find_blocks(backbone)
        for module in block
        for weight in module.parameters()
    ]
    assert len(held) == len(set(held))
    assert set(held) == {id(weight) for weight in backbone.parameters()}


def test_unfreeze__the_last_ones_only() -> None:
    backbone = build("resnet18")
    learning = unfreeze(backbone, "2")
    assert [type(module).__name__ for module in learning] == ["BasicBlock"] * 2
    assert {name.split(".")[0] for name in learned(backbone)} == {"layer4"}
    unfreeze(backbone, "1")
    assert {".".join(name.split(".")[:2]) for name in learned(backbone)} == {"layer4.1"}


def test_unfreeze__as_many_as_there_are() -> None:
    backbone = build("resnet18")
    unfreeze(backbone, "9")
    assert learned(backbone) == {name for name, _ in backbone.named_parameters()}


def test_unfreeze__all_holds_what_is_in_no_block() -> None:
    backbone = build("vit_b_16")
    assert unfreeze(backbone, "all") == [backbone]
    assert learned(backbone) == {name for name, _ in backbone.named_parameters()}
    unfreeze(backbone, "13")
    assert "encoder.pos_embedding" not in learned(backbone)


@pytest.mark.parametrize("amount", ["0", "10"])
def test_unfreeze__not_so_many(amount: str) -> None:
    with pytest.raises(UsageError, match=f"--unfreeze {amount}: .* 1 to 9, or all"):
        unfreeze(build("resnet18"), amount)
