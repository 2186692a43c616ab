"""The network as it ships: uint8 pixels in, pooled features out, normalisation inside."""

import torch
from torch import nn

from boats_runtime.errors import UsageError
from boats_runtime.preprocessing import Preprocessing


class FeatureNetwork(nn.Module):
    """A backbone behind its normalisation.

    Maps `(N, H, W, 3) uint8` RGB pixels to `(N, D) float32` features.

    Args:
        backbone: From `(N, 3, H, W) float32` to `(N, D) float32`.
        preprocessing: Gives the mean and the standard deviation.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        # Scaled by 255 here, so that the graph has one subtraction and one division.
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255)
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns the features `(N, D) float32` of pixels `(N, H, W, 3) uint8`."""
        # In the default layout: from channels-last, torch.onnx makes the pooling a gather.
        image = pixels.permute(0, 3, 1, 2).float().contiguous()
        features: torch.Tensor = self.backbone((image - self.mean) / self.std)
        return features


def check_network(network: FeatureNetwork, name: str, preprocessing: Preprocessing) -> None:
    """Runs the network once on a black photo.

    Raises:
        UsageError: The network does not take photos of this size.
    """
    pixels = torch.zeros(1, preprocessing.height, preprocessing.width, 3, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            features = network(pixels)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--backbone {name}: does not take photos of "
            f"{preprocessing.height}x{preprocessing.width}: {reason}"
        ) from error
    if features.ndim != 2:
        raise UsageError(f"--backbone {name}: its features are not one vector a photo")
