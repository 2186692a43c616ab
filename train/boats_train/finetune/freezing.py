"""Blocks of a torchvision backbone, and which of them are trained."""

from torch import nn

from boats_runtime.errors import UsageError

_NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def find_blocks(backbone: nn.Module) -> list[list[nn.Module]]:
    """Return the blocks of a backbone from input to output, each as a list of modules.

    A block is the unit that torchvision repeats: a bottleneck of a ResNet, an inverted residual of
    a MobileNet, a dense block, an encoder block of a ViT, a convolution of a VGG. Containers
    (`Sequential`, `ModuleList`) and modules with more than half of all parameters are opened.
    A normalization layer outside a block belongs to the block before it. Modules without
    parameters are left out.
    """
    blocks: list[list[nn.Module]] = []
    for module in _list_modules(backbone, _count_parameters(backbone)):
        if isinstance(module, _NORMS) and blocks:
            blocks[-1].append(module)
        else:
            blocks.append([module])
    return blocks


def unfreeze(backbone: nn.Module, amount: str) -> list[nn.Module]:
    """Make the last blocks of a backbone trainable and freeze all others.

    The amount is a number of blocks, 1 or more; or `all`, which includes parameters outside of
    blocks such as the position embedding of a ViT. The trainable modules are returned.

    Raises:
        UsageError: If the backbone has fewer blocks.
    """
    backbone.requires_grad_(False)
    blocks = find_blocks(backbone)
    if amount == "all":
        trainable = [backbone]
    elif 1 <= int(amount) <= len(blocks):
        trainable = [module for block in blocks[-int(amount) :] for module in block]
    else:
        raise UsageError(
            f"--unfreeze {amount}: this backbone has blocks 1 to {len(blocks)}, or all"
        )
    for module in trainable:
        module.requires_grad_(True)
    return trainable


def _list_modules(module: nn.Module, total: int) -> list[nn.Module]:
    modules = []
    for child in module.children():
        size = _count_parameters(child)
        is_container = type(child) in (nn.Sequential, nn.ModuleList) or size > total / 2
        if is_container and list(child.children()):
            modules.extend(_list_modules(child, total))
        elif size:
            modules.append(child)
    return modules


def _count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
