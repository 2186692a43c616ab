"""Changes to a photo that leave its class as it is, so that a network sees each photo anew.

A boat may pass in either direction, in any light, and somewhat nearer or farther. It never passes
upside down or tilted, and its hue tells a class (a white water bus, a black gondola), so that
neither changes.

What happens to a photo is drawn from (seed, epoch, place in the epoch) alone: it depends neither on
other photos nor on the process, thread or device that does it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from boats_runtime.preprocessing import IMAGENET_MEAN

COLOUR = 0.4
"""Brightness, contrast and saturation vary by so much up and down, as in ResNet's recipe by
Facebook (https://github.com/facebookarchive/fb.resnet.torch, datasets/imagenet.lua), after
Howard 2013, https://arxiv.org/abs/1312.5402."""

SCALE = 0.1
"""Zoom varies by so much up and down: a boat fills its photo, more would cut off bow and stern."""

SHIFT = 0.05
"""Largest shift, as a share of the photo's width and of its height."""

FILL = [round(255 * mean) for mean in IMAGENET_MEAN]
"""What appears beside a photo that shrank or moved: zero after normalisation."""


@dataclass(frozen=True)
class Change:
    """What happens to one photo.

    Attributes:
        flip: Whether left and right are swapped.
        brightness: Factor.
        contrast: Factor.
        saturation: Factor.
        scale: Zoom factor.
        right: Shift, as a share of the width.
        down: Shift, as a share of the height.
    """

    flip: bool
    brightness: float
    contrast: float
    saturation: float
    scale: float
    right: float
    down: float


def draw_change(seed: int, epoch: int, place: int) -> Change:
    """Draws what happens to the photo at a place, from 0, of an epoch, from 1."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, epoch, place)))
    flip = bool(rng.random() < 0.5)
    brightness, contrast, saturation = rng.uniform(1 - COLOUR, 1 + COLOUR, 3).tolist()
    scale = float(rng.uniform(1 - SCALE, 1 + SCALE))
    right, down = rng.uniform(-SHIFT, SHIFT, 2).tolist()
    return Change(flip, brightness, contrast, saturation, scale, right, down)


def augment(pixels: torch.Tensor, changes: Sequence[Change]) -> torch.Tensor:
    """Changes photos, on the device that they are on.

    Args:
        pixels: `(N, H, W, 3) uint8`, as `Preprocessing.apply` makes them.
        changes: One a photo, N of them.

    Returns:
        Other photos `(N, H, W, 3) uint8`.
    """
    images = pixels.permute(0, 3, 1, 2)
    changed = [_apply(image, change) for image, change in zip(images, changes, strict=True)]
    return torch.stack(changed).permute(0, 2, 3, 1)


def _apply(image: torch.Tensor, change: Change) -> torch.Tensor:
    """Changes one photo `(3, H, W) uint8`."""
    height, width = image.shape[1:]
    if change.flip:
        image = functional.horizontal_flip(image)
    image = functional.adjust_brightness(image, change.brightness)
    image = functional.adjust_contrast(image, change.contrast)
    image = functional.adjust_saturation(image, change.saturation)
    moved: torch.Tensor = functional.affine(
        image,
        angle=0.0,
        translate=[change.right * width, change.down * height],
        scale=change.scale,
        shear=[0.0, 0.0],
        interpolation=functional.InterpolationMode.BILINEAR,
        fill=FILL,
    )
    return moved
