"""Backbones by name: the one place that chooses between torchvision, timm and the user's code."""

from pathlib import Path

from torch import nn

from boats_runtime.errors import DataError, ModelError, UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.models import custom_backbones, timm_backbones, torchvision_backbones
from boats_train.models.sources import FACTORY, IMAGENET, RANDOM, find_source
from boats_train.models.weights import WeightsOrigin, load_state, read_state

DEFAULT_SIZE = (240, 800)


def build_backbone(name: str, size: tuple[int, int] = DEFAULT_SIZE) -> nn.Module:
    """Build a network that returns its pooled features.

    The module is in evaluation mode, from (N, 3, H, W) float32 to (N, D) float32. Its weights are
    random; those of the user's own code are as the code made them.

    Args:
        name: One of `torchvision.models.list_models(module=torchvision.models)`, `timm:NAME`, or
            `package.module:factory`, which is imported.
        size: Height and width of the images; some networks of timm are built for one size.

    Raises:
        UsageError: If there is no such network; `BackboneUnavailableError` if its code is not
            installed.
    """
    source = find_source(name)
    if source == "timm":
        network = timm_backbones.build(name, size)
    elif source == "custom":
        network = custom_backbones.build(name)
    else:
        network = torchvision_backbones.build(name)
    return network.eval()


def make_preprocessing(name: str, height: int, width: int) -> Preprocessing:
    """Return the preprocessing for a new network: the size, and the normalization of its weights.

    Raises:
        UsageError: If the backbone is not available, or its normalization is out of range.
    """
    source = find_source(name)
    if source == "torchvision":  # all of its weights share one normalization
        return Preprocessing(height, width)
    module = timm_backbones if source == "timm" else custom_backbones
    mean, std = module.get_normalization(name)
    try:
        return Preprocessing(height, width, mean, std)
    except ModelError as error:
        raise UsageError(f"--backbone {name}: {error}") from error


def load_weights(
    backbone: nn.Module, name: str, weights: str, size: tuple[int, int] = DEFAULT_SIZE
) -> WeightsOrigin | None:
    """Load the weights of a backbone in place.

    Args:
        backbone: Backbone from `build_backbone`.
        name: Name of the network.
        weights: `imagenet`, `none` (keeps the random weights), `factory` (keeps those of the
            user's own code), or the path of a `.pth` or `.safetensors` state dict in the format of
            the network, with or without the head.
        size: Height and width of the images, as given to `build_backbone`.

    Returns:
        Origin of the weights; None for random ones.

    Raises:
        DownloadError: If the ImageNet weights cannot be downloaded.
        UsageError: If there are no such weights for this network.
        DataError: If the file does not exist, is not a state dict, or belongs to another network.
    """
    source = find_source(name)
    if weights == RANDOM:
        return None
    if weights == FACTORY:
        if source != "custom":
            raise UsageError(f"--weights {FACTORY}: only for --backbone package.module:factory")
        return WeightsOrigin(f"made by {name}")
    if weights == IMAGENET:
        return _load_imagenet(backbone, name, size)
    state = read_state(Path(weights))
    try:
        if source == "timm":
            timm_backbones.load_file(backbone, name, size, state)
        else:
            ignored = () if source == "custom" else torchvision_backbones.HEADS
            load_state(backbone, state, ignored)
    except ValueError as error:
        raise DataError(f"{weights}: not weights of {name}: {error}") from error
    return WeightsOrigin(Path(weights).name)


def _load_imagenet(backbone: nn.Module, name: str, size: tuple[int, int]) -> WeightsOrigin:
    source = find_source(name)
    if source == "custom":
        raise UsageError(
            f"--weights {IMAGENET}: {name} is your own code: omit --weights to keep the weights "
            "that it makes, or give the PATH of a state dict"
        )
    if source == "timm":
        return timm_backbones.load_imagenet(backbone, name, size)
    state, origin = torchvision_backbones.imagenet_state(name)
    try:
        load_state(backbone, state, torchvision_backbones.HEADS)
    except ValueError as error:
        raise DataError(
            f"the ImageNet weights of {name}: not weights of {name}: {error}"
        ) from error
    return origin
