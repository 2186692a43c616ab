"""Split of a backbone into a frozen prefix and a trained suffix.

The prefix maps an image to an activation, the suffix that activation to the features. Both share
their modules with the backbone, so a trained suffix is a trained backbone. The backbone is traced
with torch.fx; blocks are not traced through, so what they compute does not matter.
"""

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

from boats_runtime.errors import UsageError, first_line
from boats_train.finetune.freezing import find_blocks
from boats_train.models.feature_network import FeatureNetwork

STRIDE = 16
"""Image pixels per activation pixel after the prefix of `auto`."""


class SplitError(Exception):
    """A backbone cannot be split; the message says why."""


@dataclass(frozen=True)
class NetworkSplit:
    """A feature network in two parts that share its modules.

    Attributes:
        prefix: Backbone up to the cut, from a normalized image, (N, 3, H, W) float32, to the
            activation.
        suffix: Backbone after the cut, from the activation to the features, (N, D) float32.
        blocks: Number of blocks in the suffix.
        shape: Shape of the activation of one image.
    """

    prefix: nn.Module
    suffix: nn.Module
    blocks: int
    shape: tuple[int, ...]


def choose_blocks(network: FeatureNetwork, height: int, width: int) -> int:
    """Return the number of last blocks that `auto` trains.

    These are all blocks after the first run of blocks whose outputs have stride 16 and equal
    shapes: after `blocks.3` of an EfficientNet, `features.10` of a MobileNetV2, `layer3` of a
    ResNet. A network without such a run, such as a ViT, trains the last third of its blocks.
    """
    blocks = find_blocks(network.backbone)
    shapes: dict[int, tuple[int, ...]] = {}
    hooks = [
        block[-1].register_forward_hook(
            lambda _module, _inputs, output, index=index: shapes.update({index: _shape(output)})
        )
        for index, block in enumerate(blocks)
    ]
    try:
        with torch.inference_mode():
            network(_black_image(network, height, width))
    finally:
        for hook in hooks:
            hook.remove()
    run = [index for index in shapes if _stride(shapes[index], height, width) == STRIDE]
    run = [index for index in run if shapes[index] == shapes[run[0]]]
    is_patch_embedding = run[:1] == [0]
    if run and not is_patch_embedding and run[-1] + 1 < len(blocks):
        return len(blocks) - 1 - run[-1]
    return math.ceil(len(blocks) / 3)


def split_network(network: FeatureNetwork, blocks: int, height: int, width: int) -> NetworkSplit:
    """Split a network before its last blocks, at a point where a single tensor is alive.

    Args:
        network: Feature network; its modules are shared by both parts.
        blocks: Number of last blocks in the suffix, as counted by `find_blocks`.
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Raises:
        UsageError: If the backbone has fewer blocks.
        SplitError: If the backbone cannot be traced or split.
    """
    found = find_blocks(network.backbone)
    if not 1 <= blocks <= len(found):
        raise UsageError(f"--unfreeze {blocks}: this backbone has blocks 1 to {len(found)}, or all")
    try:
        graph = _BlockTracer(found).trace(network.backbone)
        prefix_graph, suffix_graph = _cut(graph, network.backbone, found[-blocks])
        prefix = fx.GraphModule(network.backbone, prefix_graph)
        suffix = fx.GraphModule(network.backbone, suffix_graph)
        with torch.inference_mode():
            image = _black_image(network, height, width)
            activation = prefix(normalize(network, image))
            features, expected = suffix(activation), network(image)
    except SplitError:
        raise
    except Exception as error:  # whatever the code of the backbone raises for a symbolic tensor
        raise SplitError(f"cannot be traced: {first_line(error)}") from error
    if not torch.allclose(features, expected, rtol=1e-3, atol=1e-4):
        raise SplitError("its parts compute other features than the whole")
    prefix.eval()
    suffix.eval()
    return NetworkSplit(prefix, suffix, blocks, tuple(activation.shape[1:]))


def copy_split(split: NetworkSplit) -> NetworkSplit:
    """Return a split whose suffix does not share its weights with the network."""
    return replace(split, suffix=deepcopy(split.suffix))


def normalize(network: FeatureNetwork, pixels: torch.Tensor) -> torch.Tensor:
    """Return the input of the backbone, (N, 3, H, W) float32, of pixels, (N, H, W, 3) uint8."""
    return (pixels.permute(0, 3, 1, 2).float() - network.mean) / network.std


class _BlockTracer(fx.Tracer):
    """Trace only through modules that contain blocks."""

    def __init__(self, blocks: list[list[nn.Module]]) -> None:
        super().__init__()
        self._blocks = {module for block in blocks for module in block}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        """Return whether a module is called as a whole."""
        inner = list(m.modules())[1:]
        return m in self._blocks or not any(module in self._blocks for module in inner)


def _cut(graph: fx.Graph, backbone: nn.Module, block: list[nn.Module]) -> tuple[fx.Graph, fx.Graph]:
    """Return the parts before and after the last single tensor that a block depends on."""
    nodes = list(graph.nodes)
    modules = dict(backbone.named_modules())
    calls = [
        position
        for position, node in enumerate(nodes)
        if node.op == "call_module" and modules[str(node.target)] in block
    ]
    if not calls:
        raise SplitError("its blocks are not called as modules")
    position, alive = next(
        (position, alive)
        for position in range(calls[0], 0, -1)
        if (alive := _find_single_tensor(nodes, position)) is not None
    )
    if alive.op == "placeholder":
        raise SplitError("no single tensor leads from its first blocks to its last ones")
    prefix, suffix = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in nodes[:position]:
        copies[node] = prefix.node_copy(node, copies.__getitem__)
    prefix.output(copies[alive])
    later = set(nodes[position:])
    parameters = [node for node in nodes[:position] if node.op == "get_attr"]
    copies = {alive: suffix.placeholder("activation")}
    for node in (*parameters, *nodes[position:]):
        if node in later or not later.isdisjoint(node.users):
            copies[node] = suffix.node_copy(node, copies.__getitem__)
    return prefix, suffix


def _find_single_tensor(nodes: list[fx.Node], position: int) -> fx.Node | None:
    """Return the only node before a position that later nodes use; parameters do not count."""
    later = set(nodes[position:])
    alive = [
        node
        for node in nodes[:position]
        if node.op != "get_attr" and not later.isdisjoint(node.users)
    ]
    return alive[0] if len(alive) == 1 else None


def _shape(output: Any) -> tuple[int, ...]:
    return tuple(output.shape[1:]) if isinstance(output, torch.Tensor) else ()


def _stride(shape: tuple[int, ...], height: int, width: int) -> int:
    """Return the nearest power of two to the stride of an output; 0 if it is not a map."""
    if len(shape) != 3:
        return 0
    ratio = height * width / (shape[1] * shape[2])
    return int(2 ** round(math.log2(ratio) / 2))


def _black_image(network: FeatureNetwork, height: int, width: int) -> torch.Tensor:
    return torch.zeros(1, height, width, 3, dtype=torch.uint8, device=network.mean.device)
