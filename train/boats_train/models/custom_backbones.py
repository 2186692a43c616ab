"""Backbones of the user's own code."""

import importlib
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import cast

from torch import nn

from boats_runtime.errors import UsageError, first_line
from boats_runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from boats_train.models.sources import BackboneUnavailableError, Normalization


def build(name: str) -> nn.Module:
    """Call a factory, `package.module:factory`, for a network that returns features.

    The module is imported from the installed packages or the current folder. The factory takes no
    arguments and returns a module from (N, 3, H, W) float32 to (N, D) float32.

    Raises:
        BackboneUnavailableError: If the factory cannot be imported.
        UsageError: If it fails or returns something else.
    """
    factory = _import_factory(name)
    try:
        network = factory()
    except (Exception, SystemExit) as error:
        raise UsageError(f"--backbone {name}: the factory failed: {_describe(error)}") from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise UsageError(f"--backbone {name}: returned {kind}, not a torch.nn.Module")
    return network


def get_normalization(name: str) -> Normalization:
    """Return the attributes `mean` and `std` of a factory; those of ImageNet if it has none.

    Raises:
        BackboneUnavailableError: If the factory cannot be imported.
        UsageError: If an attribute is not a sequence of three numbers.
    """
    factory = _import_factory(name)
    values = []
    for attribute, default in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        value = getattr(factory, attribute, default)
        try:
            red, green, blue = map(float, value)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"--backbone {name}: its {attribute} is {value!r}, expected three numbers"
            ) from error
        values.append((red, green, blue))
    return values[0], values[1]


def _import_factory(name: str) -> Callable[[], object]:
    module_name, _, path = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:  # last, so that a file here replaces no installed package
        sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise BackboneUnavailableError(
            f"--backbone {name}: {module_name} cannot be imported from the installed packages or "
            f"{folder}: {_describe(error)}"
        ) from error
    try:
        factory = cast("Callable[[], object]", reduce(getattr, path.split("."), module))
    except AttributeError as error:
        where = getattr(module, "__file__", None) or module_name
        raise BackboneUnavailableError(f"--backbone {name}: {where} has no {path}") from error
    if not callable(factory):
        raise UsageError(f"--backbone {name}: {path} is not a function or class")
    return factory


def _describe(error: Exception | SystemExit) -> str:
    """Return the type, message and innermost line of an error in the user's code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = f"{type(error).__name__}: {first_line(error)}"
    inside = frame.filename.startswith("<") or frame.filename == importlib.__file__
    return message if inside else f"{message} ({frame.filename}:{frame.lineno})"
