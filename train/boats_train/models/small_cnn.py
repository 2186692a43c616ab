"""The small CNN of the report, trained from scratch on small images."""

import torch
from torch import nn

from boats_runtime.errors import UsageError

NAME = "small_cnn"
IMAGE_SIZE = (30, 100)
"""Height and width of the images in the report."""

FEATURES = 50
"""Number of features."""


class SmallCNN(nn.Module):
    """Two convolutional and two dense layers, without the classification layer.

    Args:
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Raises:
        UsageError: If the images are too small for the layers.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        rows, columns = (((side - 4) // 2 - 2) // 2 for side in (height, width))
        if rows < 1 or columns < 1:
            raise UsageError(f"--image-size {height}x{width}: too small for --model cnn")
        self.layers = nn.Sequential(
            nn.Conv2d(3, 30, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(30, 15, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(15 * rows * columns, 128),
            nn.ReLU(),
            nn.Linear(128, FEATURES),
            nn.ReLU(),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the features, (N, 50) float32, of images, (N, 3, H, W) float32."""
        features: torch.Tensor = self.layers(image)
        return features
