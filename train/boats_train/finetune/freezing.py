"""The blocks of a torchvision network, from its input to its features, and which of them learn."""

from torch import nn

from boats_runtime.errors import UsageError

_NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def find_blocks(backbone: nn.Module) -> list[list[nn.Module]]:
    """Takes a network apart into its blocks.

    A block is what torchvision repeats: a bottleneck of a ResNet, an inverted residual of a
    MobileNet, a dense block, an encoder block of a ViT, a convolution of a VGG. They are found
    by opening whatever only holds others (`Sequential`, `ModuleList`) and whatever has more than
    half of the network's parameters. A normalisation by itself belongs to the block before it.

    Returns:
        The blocks in the order of their work, each as its modules; all of them have parameters.
    """
    blocks: list[list[nn.Module]] = []
    for module in _open(backbone, _size(backbone)):
        if isinstance(module, _NORMS) and blocks:
            blocks[-1].append(module)
        else:
            blocks.append([module])
    return blocks


def unfreeze(backbone: nn.Module, amount: str) -> list[nn.Module]:
    """Lets the last blocks of a network learn and freezes all others.

    Args:
        backbone: Its parameters' `requires_grad` is set.
        amount: How many blocks, 1 or more, or `all`: then what belongs to no block learns too, like
            a ViT's position embedding.

    Returns:
        The modules that learn.

    Raises:
        UsageError: The network has fewer blocks.
    """
    backbone.requires_grad_(False)
    blocks = find_blocks(backbone)
    if amount == "all":
        learning = [backbone]
    elif 1 <= int(amount) <= len(blocks):
        learning = [module for block in blocks[-int(amount) :] for module in block]
    else:
        raise UsageError(
            f"--unfreeze {amount}: this backbone has blocks 1 to {len(blocks)}, or all"
        )
    for module in learning:
        module.requires_grad_(True)
    return learning


def _open(module: nn.Module, whole: int) -> list[nn.Module]:
    found = []
    for child in module.children():
        size = _size(child)
        holds = type(child) in (nn.Sequential, nn.ModuleList) or size > whole / 2
        if holds and any(True for _ in child.children()):
            found.extend(_open(child, whole))
        elif size:
            found.append(child)
    return found


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
