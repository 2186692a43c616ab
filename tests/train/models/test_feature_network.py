import pytest
import torch
from torch import nn
from torchvision.transforms import functional

from boats_runtime.errors import UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork, check_network

MEANS = {
    "imagenet": {},
    "other": {"mean": (0.1, 0.5, 0.9), "std": (0.3, 0.2, 0.1)},
    "none": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
}


@pytest.mark.parametrize("values", MEANS.values(), ids=MEANS.keys())
def test_feature_network__normalizes_as_torchvision(
    values: dict[str, tuple[float, float, float]],
) -> None:
    preprocessing = Preprocessing(16, 24, **values)
    pixels = torch.randint(0, 256, (3, 16, 24, 3), dtype=torch.uint8)
    pixels[0, 0, :2] = torch.tensor([[0], [255]])
    normalized = FeatureNetwork(nn.Identity(), preprocessing)(pixels)
    image = pixels.permute(0, 3, 1, 2) / 255
    expected = functional.normalize(image, preprocessing.mean, preprocessing.std)
    torch.testing.assert_close(normalized, expected, rtol=1e-5, atol=1e-5)


def test_feature_network__is_in_evaluation_mode() -> None:
    backbone = build_backbone("mobilenet_v3_small").train()
    network = FeatureNetwork(backbone, Preprocessing(64, 160))
    assert not any(module.training for module in network.modules())
    pixels = torch.randint(0, 256, (2, 64, 160, 3), dtype=torch.uint8)
    with torch.inference_mode():
        batch = network(pixels)
        single = torch.cat([network(pixels[:1]), network(pixels[1:])])
    # With BatchNorm in training mode, each image would depend on the others.
    torch.testing.assert_close(batch, single, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "height", "width"),
    [("vit_b_16", 240, 800), ("maxvit_t", 240, 800), ("alexnet", 32, 32)],
)
def test_check_network__fixed_or_smallest_image_size(name: str, height: int, width: int) -> None:
    backbone = build_backbone(name)
    square, other = Preprocessing(224, 224), Preprocessing(height, width)
    check_network(FeatureNetwork(backbone, square), name, square)
    message = f"--backbone {name}: does not accept images of {height}x{width}: "
    with pytest.raises(UsageError, match=message):
        check_network(FeatureNetwork(backbone, other), name, other)


def test_check_network__features_are_a_map() -> None:
    size = Preprocessing(32, 64)
    network = FeatureNetwork(nn.Conv2d(3, 4, 3), size)
    with pytest.raises(UsageError, match="the features of an image are not a vector"):
        check_network(network, "conv", size)
