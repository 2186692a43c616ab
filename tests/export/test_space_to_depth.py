import numpy as np
import onnx
import pytest
import torch
from torch import nn

from boats_export.network import export_network
from boats_export.space_to_depth import apply_space_to_depth
from boats_export.verify import compute_onnx_features
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.feature_network import FeatureNetwork


class Stem(nn.Module):
    """One layer, and the mean of its input added to the result if `twice`."""

    def __init__(self, layer: nn.Module, twice: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.twice = twice

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layer(image).flatten(1)
        return features + image.mean() if self.twice else features


def export(
    layer: nn.Module, height: int = 12, width: int = 20, twice: bool = False
) -> onnx.ModelProto:
    torch.manual_seed(0)
    preprocessing = Preprocessing(height, width)
    return export_network(FeatureNetwork(Stem(layer, twice), preprocessing), preprocessing)


def first_conv(model: onnx.ModelProto) -> dict[str, object]:
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def assert_same_features(model: onnx.ModelProto, other: onnx.ModelProto) -> None:
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    pixels = np.random.default_rng(0).integers(0, 256, (7, *shape), dtype=np.uint8)
    expected, features = (compute_onnx_features(network, pixels) for network in (model, other))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "pad", "blocks", "pads"),
    [
        (7, 3, 4, [2, 2, 1, 1]),
        (7, 2, 4, [1, 1, 1, 1]),
        (6, 1, 4, [1, 1, 1, 1]),
        (5, 2, 3, [1, 1, 1, 1]),
        (5, 0, 3, [0, 0, 0, 0]),
        (11, 4, 6, [2, 2, 2, 2]),
    ],
)
def test_apply_space_to_depth__large_kernel_on_blocks(
    size: int, pad: int, blocks: int, pads: list[int]
) -> None:
    network = export(nn.Conv2d(3, 5, size, 2, pad))
    before = network.SerializeToString()
    rearranged = apply_space_to_depth(network)
    assert network.SerializeToString() == before
    onnx.checker.check_model(rearranged, full_check=True)
    conv = first_conv(rearranged)
    assert (conv["kernel_shape"], conv["strides"]) == ([blocks, blocks], [1, 1])
    assert conv["pads"] == pads
    assert_same_features(network, rearranged)


@pytest.mark.parametrize(
    ("layer", "height", "twice"),
    [
        (nn.Conv2d(3, 5, 3, 2, 1), 12, False),
        (nn.Conv2d(3, 5, 7, 1, 3), 12, False),
        (nn.Conv2d(3, 6, 7, 2, 3, groups=3), 12, False),
        (nn.Conv2d(3, 5, 5, 2, 4, dilation=2), 12, False),
        (nn.Conv2d(3, 5, (7, 5), 2, (3, 2)), 12, False),
        (nn.Conv2d(3, 5, 7, 2, 3), 13, False),
        (nn.Conv2d(3, 5, 7, 2, 3), 12, True),
        (nn.AvgPool2d(6, 2), 12, False),
    ],
    ids=["small", "stride 1", "groups", "dilated", "oblong", "odd", "two users", "no convolution"],
)
def test_apply_space_to_depth__other_layers_stay(
    layer: nn.Module, height: int, twice: bool
) -> None:
    network = export(layer, height, twice=twice)
    rearranged = apply_space_to_depth(network)
    onnx.checker.check_model(rearranged, full_check=True)
    body = [node for node in rearranged.graph.node if not node.output[0].startswith("stem/")]
    assert [node.op_type for node in body[1:]] == [node.op_type for node in network.graph.node[4:]]
    if not isinstance(layer, nn.AvgPool2d):
        assert first_conv(rearranged) == first_conv(network)
    assert_same_features(network, rearranged)


def test_apply_space_to_depth__normalizes_whole_rows() -> None:
    network = export(nn.Conv2d(3, 5, 3, 2, 1))
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(
            apply_space_to_depth(network)
        ).graph.value_info
    }
    assert shapes["stem/centered"][1:] == [12, 60]
