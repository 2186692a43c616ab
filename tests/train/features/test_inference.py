import numpy as np
import pytest
import torch
from torch import nn

from boats_runtime.preprocessing import Preprocessing
from boats_train.features import inference
from boats_train.features.inference import choose_backend, float32_backend
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork

SIZE = Preprocessing(64, 96)


class CancellingNetwork(nn.Module):
    """A network whose features are differences that 16-bit numbers cannot represent."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Conv2d(3, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean = self.scale(image).mean((2, 3)) * 1e-3 + 1000
        return mean - 1000.5 + self.scale(image).to(torch.float32).mean((2, 3)) * 1e-5


def make_network(name: str) -> FeatureNetwork:
    torch.manual_seed(0)
    return FeatureNetwork(build_backbone(name), SIZE)


def make_pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 96, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "convnext_tiny", "swin_t"])
def test_float32_backend__same_features_as_the_network(name: str) -> None:
    network = make_network(name)
    pixels = make_pixels(2)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).numpy()
    features = float32_backend(network).run(pixels)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_choose_backend__features_within_the_tolerance() -> None:
    network = make_network("resnet18")
    pixels = make_pixels(3)
    expected = float32_backend(network).run(pixels)
    distances = np.linalg.norm(choose_backend(network, pixels).run(pixels) - expected, axis=1)
    assert np.all(distances <= inference.TOLERANCE * np.linalg.norm(expected, axis=1))


def test_choose_backend__inaccurate_16_bit_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_find_16_bit_type", lambda _: torch.bfloat16)
    backend = choose_backend(FeatureNetwork(CancellingNetwork(), SIZE), make_pixels(2))
    assert backend.name == "float32"
    assert backend.reason.startswith("bfloat16 features differ by ")


def test_choose_backend__no_16_bit_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_find_16_bit_type", lambda _: None)
    backend = choose_backend(make_network("resnet18"), make_pixels(1))
    assert backend.name == "float32"
    assert "no fast 16-bit arithmetic" in backend.reason


def test_choose_backend__does_not_change_the_network() -> None:
    network = make_network("resnet18")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    choose_backend(network, make_pixels(1))
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
