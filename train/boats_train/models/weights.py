"""State dicts of backbones: reading, loading, and the origin of the weights."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from boats_runtime.errors import DataError, UsageError

State = Mapping[str, torch.Tensor]

NOT_STATED = "not stated"
"""License of weights whose source does not state one."""

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""Keys in the ImageNet files of DenseNet; torchvision renames them on loading."""


class DownloadError(UsageError):
    """The ImageNet weights could not be downloaded."""


@dataclass(frozen=True)
class WeightsOrigin:
    """Where weights come from, as recorded in a run, an exported file and its model card.

    Attributes:
        name: Name of the weights, such as `tf_efficientnet_lite0.in1k`, or of a file.
        license: License as the source states it, or `not stated`.
        address: Address of the weights; empty for a file.
        sha256: SHA-256 of the file where it is known; otherwise empty.
    """

    name: str
    license: str = NOT_STATED
    address: str = ""
    sha256: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the values that are known."""
        return {key: value for key, value in asdict(self).items() if value}


def load_state(backbone: nn.Module, state: State, ignored: Iterable[str] = ()) -> None:
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
    heads = tuple(f"{module}." for module in ignored)
    unexpected = [key for key in unexpected if not key.startswith(heads)]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    if unexpected:
        raise ValueError(f"{unexpected[0]} is unexpected")


def read_state(path: Path) -> State:
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
