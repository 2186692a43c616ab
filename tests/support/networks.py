"""Networks of torchvision and their weights."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

State = dict[str, torch.Tensor]


class Payload:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._path,)


def make_network(name: str) -> nn.Module:
    """Return a complete network of torchvision with random weights and statistics."""
    options = {}
    if name in ("googlenet", "inception_v3"):
        options = {"transform_input": True, "init_weights": False}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def run_and_capture(
    network: nn.Module, image: torch.Tensor, layer: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the output of a network, and the input and output of one of its layers."""
    captured: list[torch.Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda _, inputs, output: captured.extend((inputs[0], output))
    )
    with torch.inference_mode():
        output = network(image)
    hook.remove()
    return output, *captured


def save_state(state: State, path: Path) -> Path:
    """Write a state dict in the format of the suffix and return the path."""
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def assert_same_state(network: nn.Module, expected: State) -> None:
    """Check that the weights of a network are those of a state dict."""
    for key, value in network.state_dict().items():
        assert torch.equal(value, expected[key]), key
