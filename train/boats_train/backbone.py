"""torchvision's classification networks as feature extractors, with their weights."""

import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torchvision
from boats_runtime.errors import DataError, UsageError
from torch import nn

_HEADS = ("fc", "classifier", "head", "heads")
"""What torchvision's networks call the layers behind the pooling."""


class DownloadError(UsageError):
    """ImageNet weights could not be downloaded."""


def build_backbone(name: str) -> nn.Module:
    """Makes a torchvision network that ends at its pooled features, with random weights.

    Whatever fixed-size pooling the network has becomes an adaptive average pool to 1x1, so that
    photos of any shape keep their shape.

    Args:
        name: As in `torchvision.models.list_models(module=torchvision.models)`.

    Returns:
        A module in evaluation mode from `(N, 3, H, W) float32` to `(N, D) float32`.

    Raises:
        UsageError: torchvision has no such classification network.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        close = [other for other in known if other.startswith(name[:6])] or ["resnet50"]
        raise UsageError(
            f"--backbone {name}: not a classification network of torchvision; "
            f"there are {', '.join(close[:6])} and more"
        )
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    if isinstance(getattr(network, "avgpool", None), nn.Module):
        network.avgpool = nn.AdaptiveAvgPool2d(1)
    head = next(attribute for attribute in _HEADS if hasattr(network, attribute))
    setattr(network, head, _behind_pooling(getattr(network, head)))
    return network.eval()


def load_weights(backbone: nn.Module, name: str, weights: str) -> None:
    """Loads a backbone's weights in place.

    Args:
        backbone: What `build_backbone` made of `name`.
        name: The network's name.
        weights: `imagenet`, `none` (the random ones stay), or the path of a `.pth` or
            `.safetensors` state dict in torchvision's format, with or without its head.

    Raises:
        DownloadError: The ImageNet weights can't be downloaded.
        UsageError: torchvision has none for this network.
        DataError: The file is missing, is no state dict, or belongs to another network.
    """
    if weights == "none":
        return
    source = f"the ImageNet weights of {name}" if weights == "imagenet" else weights
    state = _imagenet_state(name) if weights == "imagenet" else read_state(Path(weights))
    try:
        missing, unexpected = backbone.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{source}: not weights of {name}: {reason}") from error
    foreign = [key for key in unexpected if key.split(".")[0] not in (*_HEADS, "AuxLogits")]
    foreign = [key for key in foreign if not key.startswith("aux")]
    if missing or foreign:
        key = (missing or foreign)[0]
        verb = "lacks" if missing else "has an unknown"
        raise DataError(f"{source}: not weights of {name}: it {verb} {key}")


def download_weights(weights: torchvision.models.WeightsEnum) -> Mapping[str, torch.Tensor]:
    """Fetches torchvision's weights, hash checked, with a progress bar; cached in `$TORCH_HOME`.

    Raises:
        DownloadError: The download failed or its hash is wrong; says what to do instead.
    """
    try:
        state: Mapping[str, torch.Tensor] = weights.get_state_dict(
            progress=True, check_hash=True, weights_only=True
        )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise DownloadError(
            f"the ImageNet weights could not be downloaded from {weights.url} ({error}); "
            "give --weights PATH with a state dict, or --weights none for random ones"
        ) from error
    return state


def read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """Reads a state dict; no code in the file is run.

    Raises:
        DataError: The file is missing, or is not a state dict.
    """
    if not path.is_file():
        raise DataError(f"--weights {path}: no such file")
    try:
        state: Any = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"--weights {path}: not a file of weights: {reason}") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise DataError(f"--weights {path}: not a state dict (names to tensors)")
    return state


def _imagenet_state(name: str) -> Mapping[str, torch.Tensor]:
    available = torchvision.models.get_model_weights(name)
    if not len(available):
        raise UsageError(f"torchvision has no ImageNet weights for {name}: give --weights PATH")
    # The first recipe's weights: features of the longer, label-smoothed V2 recipe transfer worse to
    # a head on frozen features (Kornblith et al. 2021, https://arxiv.org/abs/2010.16402).
    first = available.__members__.get("IMAGENET1K_V1", available.DEFAULT)
    return download_weights(first)


def _behind_pooling(head: nn.Module) -> nn.Module:
    """Keeps of a head only what belongs to the features: a norm and a flatten before its layers."""
    if not isinstance(head, nn.Sequential):
        return nn.Identity()
    if any(
        isinstance(layer, nn.AdaptiveAvgPool2d) for layer in head
    ):  # SqueezeNet pools its logits
        return nn.AdaptiveAvgPool2d(1)
    flatten = [index for index, layer in enumerate(head) if isinstance(layer, nn.Flatten)]
    return head[: flatten[0] + 1] if flatten else nn.Identity()
