"""Feature network: normalization and backbone, from uint8 pixels to pooled features."""

import torch
from torch import nn

from boats_runtime.errors import UsageError, first_line
from boats_runtime.preprocessing import Preprocessing


class FeatureNetwork(nn.Module):
    """Normalization followed by a backbone, from (N, 3, H, W) float32 to (N, D) float32."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        # Multiplied by 255 here, so that the graph has one subtraction and one division.
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255)
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features, (N, D) float32, of RGB pixels, (N, H, W, 3) uint8."""
        # Contiguous: from channels-last tensors, torch.onnx exports the pooling as a gather.
        image = pixels.permute(0, 3, 1, 2).float().contiguous()
        features: torch.Tensor = self.backbone((image - self.mean) / self.std)
        return features


def check_network(network: FeatureNetwork, name: str, preprocessing: Preprocessing) -> None:
    """Run the network once on a black image.

    Raises:
        UsageError: If the network does not accept images of this size.
    """
    pixels = torch.zeros(1, preprocessing.height, preprocessing.width, 3, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            features = network(pixels)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(
            f"--backbone {name}: does not accept images of "
            f"{preprocessing.height}x{preprocessing.width}: {first_line(error)}"
        ) from error
    if features.ndim != 2 or len(features) != 1:
        raise UsageError(f"--backbone {name}: the features of an image are not a vector")
    if features.dtype != torch.float32:
        raise UsageError(f"--backbone {name}: the features are not float32")
