import numpy as np
import pytest
import torch
from torch import nn

from boats_runtime.preprocessing import Preprocessing
from boats_train.features import inference as engine
from boats_train.features.inference import choose_backend, float32_backend
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork

SIZE = Preprocessing(64, 96)


def make_network(name: str) -> FeatureNetwork:
    torch.manual_seed(0)
    return FeatureNetwork(build_backbone(name), SIZE)


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 96, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "convnext_tiny", "swin_t"])
def test_plain_engine__gives_the_networks_features(name: str) -> None:
    network = make_network(name)
    probe = pixels(2)
    with torch.inference_mode():
        expected = network(torch.from_numpy(probe)).numpy()
    got = float32_backend(network).run(probe)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_choose_engine__keeps_within_its_tolerance() -> None:
    network = make_network("resnet18")
    probe = pixels(3)
    chosen = choose_backend(network, probe)
    expected = float32_backend(network).run(probe)
    distance = np.linalg.norm(chosen.run(probe) - expected, axis=1)
    assert np.all(distance <= engine.TOLERANCE * np.linalg.norm(expected, axis=1))


def test_choose_engine__refuses_16_bits_that_change_the_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Cancelling(nn.Module):
        """Its features are differences that 16 bits can't hold."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Conv2d(3, 4, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            mean = self.scale(image).mean((2, 3)) * 1e-3 + 1000
            return mean - 1000.5 + self.scale(image).to(torch.float32).mean((2, 3)) * 1e-5

    monkeypatch.setattr(engine, "_half_precision", lambda _: torch.bfloat16)
    chosen = choose_backend(FeatureNetwork(Cancelling(), SIZE), pixels(2))
    assert chosen.name == "float32"
    assert "off" in chosen.reason


def test_choose_engine__says_so_where_there_is_no_quick_16_bit_arithmetic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_half_precision", lambda _: None)
    chosen = choose_backend(make_network("resnet18"), pixels(1))
    assert chosen.name == "float32"
    assert "16-bit" in chosen.reason


def test_choose_engine__leaves_the_network_as_it_was() -> None:
    network = make_network("resnet18")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    choose_backend(network, pixels(1))
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
