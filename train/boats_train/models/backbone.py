"""torchvision's classification networks as feature extractors, with their weights."""

import contextlib
import difflib
import http.client
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torchvision
from torch import nn

from boats_runtime.errors import DataError, UsageError

_HEADS = ("fc", "classifier", "head", "heads")
"""What torchvision's networks call the layers behind the pooling."""

_OPTIONS: dict[str, dict[str, bool]] = {
    # Their ImageNet weights expect pixels scaled to -1 to 1; torchvision sets this beside them.
    name: {"transform_input": True, "aux_logits": False, "init_weights": False}
    for name in ("googlenet", "inception_v3")
}

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Keys as in DenseNet's ImageNet files; torchvision renames them when it loads those."""


class DownloadError(UsageError):
    """ImageNet weights could not be downloaded."""


class MeanPool(nn.Module):
    """Adaptive average pooling to 1x1, written so that it is one node of an exported graph."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Returns the means `(N, C, 1, 1)` of maps `(N, C, h, w)`."""
        return maps.mean((2, 3), keepdim=True)


def build_backbone(name: str) -> nn.Module:
    """Makes a torchvision network that ends at its pooled features, with random weights.

    Whatever fixed-size pooling the network has becomes an average over the whole map, so that
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
        close = difflib.get_close_matches(name, known, 6, 0.5) or ["resnet50"]
        raise UsageError(
            f"--backbone {name}: not a classification network of torchvision; "
            f"there are {', '.join(close)} and more"
        )
    network: nn.Module = torchvision.models.get_model(name, weights=None, **_OPTIONS.get(name, {}))
    if isinstance(getattr(network, "avgpool", None), nn.Module):
        network.avgpool = MeanPool()
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
        missing, unexpected = load_state(backbone, state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{source}: not weights of {name}: {reason}") from error
    foreign = [key for key in unexpected if key.split(".")[0] not in (*_HEADS, "AuxLogits")]
    foreign = [key for key in foreign if not key.startswith("aux")]
    if missing or foreign:
        key = (missing or foreign)[0]
        verb = "lacks" if missing else "has an unknown"
        raise DataError(f"{source}: not weights of {name}: it {verb} {key}")


def load_state(
    backbone: nn.Module, state: Mapping[str, torch.Tensor]
) -> tuple[list[str], list[str]]:
    """Loads a state dict in place, as far as its keys fit.

    Args:
        backbone: A torchvision network, with or without its head.
        state: Its state dict, of any age, from any file format.

    Returns:
        The keys that the state dict lacks, and those that the network does not have.

    Raises:
        RuntimeError: A tensor has another shape than the network's.
    """
    renamed = OrderedDict((_OLD_DENSENET.sub(r"\1\2", key), state[key]) for key in state)
    # torch.save keeps each module's version and safetensors does not; MNASNet insists on its own.
    versions = {"": {"version": backbone._version}} | getattr(state, "_metadata", {})
    renamed._metadata = versions  # type: ignore[attr-defined]
    missing, unexpected = backbone.load_state_dict(renamed, strict=False)
    return missing, unexpected


def download_weights(weights: torchvision.models.WeightsEnum) -> Mapping[str, torch.Tensor]:
    """Fetches torchvision's weights, hash checked, with a progress bar; cached in `$TORCH_HOME`.

    Raises:
        DownloadError: The download failed or its hash is wrong; says what to do instead.
    """
    try:
        # torch.hub prints what it downloads, and stdout is for results.
        with contextlib.redirect_stdout(sys.stderr):
            state: Mapping[str, torch.Tensor] = weights.get_state_dict(
                progress=True, check_hash=True, weights_only=True
            )
    except (
        OSError,  # urllib's URLError too
        http.client.HTTPException,
        RuntimeError,  # the hash is wrong
        EOFError,
        pickle.UnpicklingError,  # a cached file is damaged
    ) as error:
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
        # PyTorch's own words would have the user load it with the code in it.
        raise DataError(
            f"--weights {path}: not a file of weights: only tensors are read, from .safetensors or "
            "as torch.save writes a state dict"
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
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
    flatten = [index for index, layer in enumerate(head) if isinstance(layer, nn.Flatten)]
    if flatten:
        return head[: flatten[0] + 1]
    pools = any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in head)
    return MeanPool() if pools else nn.Identity()  # SqueezeNet pools its logits
