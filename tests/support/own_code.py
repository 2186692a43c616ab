"""Modules with backbones of a user's own code."""

import uuid
from pathlib import Path

CODE = """
from torch import nn


def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


class Halved(nn.Sequential):
    mean = (0.5, 0.5, 0.5)
    std = (0.25, 0.25, 0.25)

    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
"""Factories `make` and `Halved` of small networks."""


def write_module(folder: Path, name: str = "network", code: str = CODE) -> str:
    """Write a module under a new name, because Python keeps imported ones, and return the name."""
    name = f"{name}_{uuid.uuid4().hex[:8]}"
    (folder / f"{name}.py").write_text(code)
    return name
