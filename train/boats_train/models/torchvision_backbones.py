"""Classification networks of torchvision as feature extractors."""

import contextlib
import difflib
import http.client
import pickle
import re
import sys

import torchvision
from torch import nn

from boats_runtime.errors import UsageError
from boats_train.models.pooling import MeanPool
from boats_train.models.weights import NOT_STATED, DownloadError, State, WeightsOrigin

_HEADS = ("fc", "classifier", "head", "heads")
"""Names of the layers after the pooling in the networks of torchvision."""

HEADS = (*_HEADS, "aux1", "aux2", "AuxLogits")
"""Names of the layers whose weights are not used."""

_OPTIONS: dict[str, dict[str, bool]] = {
    # Their ImageNet weights expect pixels from -1 to 1; torchvision sets this with the weights.
    name: {"transform_input": True, "aux_logits": False, "init_weights": False}
    for name in ("googlenet", "inception_v3")
}

_TIMM = re.compile("(?:timm/|hf[-_]hub:(?:timm/)?)(.*)")
"""Names of timm in the notation of the Hugging Face Hub."""


def build(name: str) -> nn.Module:
    """Build a network with random weights that returns its pooled features.

    Pooling to a fixed size is replaced by an average over the whole feature map, so that the
    network accepts images of any shape.

    Raises:
        UsageError: If torchvision has no such classification network.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UsageError(f"--backbone {name}: {_explain_unknown(name, known)}")
    network: nn.Module = torchvision.models.get_model(name, weights=None, **_OPTIONS.get(name, {}))
    if isinstance(getattr(network, "avgpool", None), nn.Module):
        network.avgpool = MeanPool()
    head = next(attribute for attribute in _HEADS if hasattr(network, attribute))
    setattr(network, head, _truncate_head(getattr(network, head)))
    return network


def imagenet_state(name: str) -> tuple[State, WeightsOrigin]:
    """Download the ImageNet weights of a network, or read them from the cache.

    Raises:
        DownloadError: If they cannot be downloaded.
        UsageError: If torchvision has none.
    """
    available = torchvision.models.get_model_weights(name)
    if not len(available):
        raise UsageError(f"torchvision has no ImageNet weights for {name}: give --weights PATH")
    # Features of the V2 weights, trained longer and with label smoothing, transfer worse to a
    # classifier on frozen features (Kornblith et al. 2021, https://arxiv.org/abs/2010.16402).
    weights = available.__members__.get("IMAGENET1K_V1", available.DEFAULT)
    return download_weights(weights), describe_weights(weights)


def describe_weights(weights: torchvision.models.WeightsEnum) -> WeightsOrigin:
    """Return the origin of weights of torchvision, which states the license of a few of them."""
    return WeightsOrigin(str(weights), weights.meta.get("license", NOT_STATED), weights.url)


def download_weights(weights: torchvision.models.WeightsEnum) -> State:
    """Download weights of torchvision and verify their hash; they are cached in `$TORCH_HOME`.

    Raises:
        DownloadError: If the download fails or the hash is wrong.
    """
    try:
        # torch.hub prints the address to stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            state: State = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
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


def _explain_unknown(name: str, known: list[str]) -> str:
    if match := _TIMM.fullmatch(name):
        return f"networks of timm are named timm:NAME: give --backbone timm:{match[1]}"
    similar = difflib.get_close_matches(name, known, 6, 0.5) or ["resnet50"]
    return (
        f"not a classification network of torchvision; use for example {', '.join(similar)}, "
        "timm:NAME, or package.module:factory for your own code"
    )


def _truncate_head(head: nn.Module) -> nn.Module:
    """Return the layers of a head that belong to the features: a norm and a flatten."""
    if not isinstance(head, nn.Sequential):
        return nn.Identity()
    flatten = [index for index, layer in enumerate(head) if isinstance(layer, nn.Flatten)]
    if flatten:
        return head[: flatten[0] + 1]
    pools = any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in head)
    return MeanPool() if pools else nn.Identity()  # SqueezeNet pools its logits
