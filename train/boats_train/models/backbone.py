"""Classification networks of torchvision as feature extractors."""

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
"""Names of the layers after the pooling in the networks of torchvision."""

_AUXILIARY_HEADS = ("aux1", "aux2", "AuxLogits")

_OPTIONS: dict[str, dict[str, bool]] = {
    # Their ImageNet weights expect pixels from -1 to 1; torchvision sets this with the weights.
    name: {"transform_input": True, "aux_logits": False, "init_weights": False}
    for name in ("googlenet", "inception_v3")
}

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Keys in the ImageNet files of DenseNet; torchvision renames them on loading."""

_TIMM = re.compile("timm[/:]|hf[-_]hub:")
"""Prefixes of names in timm and on the Hugging Face Hub."""


class DownloadError(UsageError):
    """The ImageNet weights could not be downloaded."""


class MeanPool(nn.Module):
    """Average pooling from (N, C, h, w) to (N, C, 1, 1) that is exported as one ONNX node."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the means."""
        return maps.mean((2, 3), keepdim=True)


def build_backbone(name: str) -> nn.Module:
    """Build a torchvision network with random weights that returns its pooled features.

    The module is in evaluation mode, from (N, 3, H, W) float32 to (N, D) float32. Pooling to a
    fixed size is replaced by an average over the whole feature map, so it accepts images of any
    shape. The name is one of `torchvision.models.list_models(module=torchvision.models)`.

    Raises:
        UsageError: If torchvision has no such classification network.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        reason = "not a classification network of torchvision"
        wanted = name
        if _TIMM.match(name):
            reason = "only classification networks of torchvision are supported, not timm"
            wanted = re.split("[/:]", name)[-1].partition(".")[0]
        similar = difflib.get_close_matches(wanted, known, 6, 0.5) or ["resnet50"]
        raise UsageError(f"--backbone {name}: {reason}; use for example {', '.join(similar)}")
    network: nn.Module = torchvision.models.get_model(name, weights=None, **_OPTIONS.get(name, {}))
    if isinstance(getattr(network, "avgpool", None), nn.Module):
        network.avgpool = MeanPool()
    head = next(attribute for attribute in _HEADS if hasattr(network, attribute))
    setattr(network, head, _truncate_head(getattr(network, head)))
    return network.eval()


def load_weights(backbone: nn.Module, name: str, weights: str) -> None:
    """Load the weights of a backbone in place.

    Args:
        backbone: Backbone from `build_backbone`.
        name: Name of the network.
        weights: `imagenet`, `none` (keeps the random weights), or the path of a `.pth` or
            `.safetensors` state dict in torchvision's format, with or without the head.

    Raises:
        DownloadError: If the ImageNet weights cannot be downloaded.
        UsageError: If torchvision has no ImageNet weights for this network.
        DataError: If the file does not exist, is not a state dict, or belongs to another network.
    """
    if weights == "none":
        return
    state = _imagenet_state(name) if weights == "imagenet" else read_state(Path(weights))
    source = f"the ImageNet weights of {name}" if weights == "imagenet" else weights
    try:
        load_state(backbone, state, ignored=_HEADS + _AUXILIARY_HEADS)
    except ValueError as error:
        raise DataError(f"{source}: not weights of {name}: {error}") from error


def load_state(
    backbone: nn.Module, state: Mapping[str, torch.Tensor], ignored: tuple[str, ...] = ()
) -> None:
    """Load a state dict, of any version of torchvision and from any file format, in place.

    Tensors of the ignored modules are skipped if the backbone lacks them.

    Raises:
        ValueError: If the state dict does not fit; the message names the first difference.
    """
    renamed = OrderedDict((_OLD_DENSENET.sub(r"\1\2", key), state[key]) for key in state)
    # safetensors does not store the versions of the modules, which MNASNet requires.
    versions = {"": {"version": backbone._version}} | getattr(state, "_metadata", {})
    renamed._metadata = versions  # type: ignore[attr-defined]
    try:
        missing, unexpected = backbone.load_state_dict(renamed, strict=False)
    except RuntimeError as error:  # a tensor has another shape
        raise ValueError(str(error).splitlines()[-1].strip()) from error
    unexpected = [key for key in unexpected if key.split(".")[0] not in ignored]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    if unexpected:
        raise ValueError(f"{unexpected[0]} is unexpected")


def download_weights(weights: torchvision.models.WeightsEnum) -> Mapping[str, torch.Tensor]:
    """Download weights of torchvision and verify their hash; they are cached in `$TORCH_HOME`.

    Raises:
        DownloadError: If the download fails or the hash is wrong.
    """
    try:
        # torch.hub prints the address to stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            state: Mapping[str, torch.Tensor] = weights.get_state_dict(
                progress=True, check_hash=True, weights_only=True
            )
    except (
        OSError,  # includes URLError
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
    """Read a state dict; code in the file is not executed.

    Raises:
        DataError: If the file does not exist or is not a state dict.
    """
    if not path.is_file():
        raise DataError(f"--weights {path}: file does not exist")
    try:
        state: Any = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        # The message of PyTorch recommends an option that would execute code in the file.
        expected = "expected .safetensors, or a state dict written by torch.save"
        raise DataError(f"--weights {path}: not a weights file; {expected}") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise DataError(f"--weights {path}: not a state dict from names to tensors")
    return state


def _imagenet_state(name: str) -> Mapping[str, torch.Tensor]:
    available = torchvision.models.get_model_weights(name)
    if not len(available):
        raise UsageError(f"torchvision has no ImageNet weights for {name}: give --weights PATH")
    # Features of the V2 weights, trained longer and with label smoothing, transfer worse to a
    # classifier on frozen features (Kornblith et al. 2021, https://arxiv.org/abs/2010.16402).
    return download_weights(available.__members__.get("IMAGENET1K_V1", available.DEFAULT))


def _truncate_head(head: nn.Module) -> nn.Module:
    """Return the layers of a head that belong to the features: a norm and a flatten."""
    if not isinstance(head, nn.Sequential):
        return nn.Identity()
    flatten = [index for index, layer in enumerate(head) if isinstance(layer, nn.Flatten)]
    if flatten:
        return head[: flatten[0] + 1]
    pools = any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in head)
    return MeanPool() if pools else nn.Identity()  # SqueezeNet pools its logits
