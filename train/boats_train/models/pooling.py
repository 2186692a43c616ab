"""Global average pooling that is exported as one ONNX node."""

import torch
from torch import nn


class MeanPool(nn.Module):
    """Average pooling from (N, C, h, w) to (N, C, 1, 1) that is exported as one ONNX node."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the means."""
        return maps.mean((2, 3), keepdim=True)


def replace_global_pools(network: nn.Module) -> None:
    """Replace global average poolings in place.

    PyTorch's is exported as a gather in networks whose maps are channels-last.
    """
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size in (1, (1, 1)):
                setattr(module, name, MeanPool())
