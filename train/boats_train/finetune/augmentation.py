"""Random changes of training images that leave the class unchanged.

A boat can pass in either direction, in any light, and nearer or farther away. It never passes
upside down or tilted, and its hue identifies the class (a white water bus, a black gondola), so
rotation and hue are excluded.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2

from boats_runtime.preprocessing import IMAGENET_MEAN

COLOR = 0.4
"""Largest relative change of brightness, contrast and saturation, as in the ResNet recipe of
https://github.com/facebookarchive/fb.resnet.torch (datasets/imagenet.lua), after Howard 2013,
https://arxiv.org/abs/1312.5402."""

SCALE = 0.1
"""Largest relative change of the size: a boat fills its image, more would cut off bow and stern."""

SHIFT = 0.05
"""Largest shift as a fraction of the image width and height."""

FILL = [round(255 * mean) for mean in IMAGENET_MEAN]
"""Color of the border around a shrunk or shifted image: zero after normalization."""

AUGMENTATION = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=COLOR, contrast=COLOR, saturation=COLOR),
        v2.RandomAffine(
            degrees=0.0,
            translate=(SHIFT, SHIFT),
            scale=(1 - SCALE, 1 + SCALE),
            interpolation=v2.InterpolationMode.BILINEAR,
            fill=FILL,
        ),
    ]
)


def augment(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return a randomly changed copy of an RGB image, (H, W, 3) uint8.

    The result depends on the arguments alone; PyTorch's global generator does not change.
    """
    image = torch.tensor(pixels).permute(2, 0, 1)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would reseed the GPUs as well.
        torch.default_generator.manual_seed(seed)
        augmented: torch.Tensor = AUGMENTATION(image)
    return augmented.permute(1, 2, 0).numpy()
