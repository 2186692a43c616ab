from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch.nn import functional as F

from boats_runtime.errors import DataError, UsageError
from boats_train.models.backbone import build_backbone, load_weights
from boats_train.models.weights import load_state
from support.networks import assert_same_state, make_network, run_and_capture, save_state

FAMILIES = {
    "alexnet": ("features", 256),
    "convnext_tiny": ("features", 768),
    "densenet121": ("features", 1024),
    "efficientnet_b0": ("features", 1280),
    "efficientnet_v2_s": ("features", 1280),
    "googlenet": ("inception5b", 1024),
    "inception_v3": ("Mixed_7c", 2048),
    "mnasnet0_5": ("layers", 1280),
    "mobilenet_v2": ("features", 1280),
    "mobilenet_v3_large": ("features", 960),
    "mobilenet_v3_small": ("features", 576),
    "regnet_y_400mf": ("trunk_output", 440),
    "resnet18": ("layer4", 512),
    "resnet50": ("layer4", 2048),
    "resnext50_32x4d": ("layer4", 2048),
    "shufflenet_v2_x0_5": ("conv5", 1024),
    "squeezenet1_1": ("features", 512),
    "swin_t": ("permute", 768),
    "swin_v2_t": ("permute", 768),
    "vgg11": ("features", 512),
    "wide_resnet50_2": ("layer4", 2048),
}
"""Last layer before the pooling and number of features, for one network of each family that
accepts images of any shape."""

LAYERS_AFTER_THE_MAP: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "densenet121": F.relu,
    "convnext_tiny": lambda image: F.layer_norm(image.mean((2, 3)), (768,), eps=1e-6)[
        ..., None, None
    ],
}


def assert_same(features: torch.Tensor, expected: torch.Tensor) -> None:
    largest = float(expected.abs().max())
    assert largest > 0
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5 * largest)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 96, 224, generator=generator)


@pytest.mark.parametrize("name", FAMILIES)
def test_build_backbone__features_are_the_mean_of_the_last_map(
    name: str, image: torch.Tensor
) -> None:
    layer, width = FAMILIES[name]
    backbone = build_backbone(name)
    features, _, last_map = run_and_capture(backbone, image, layer)
    assert not backbone.training
    assert features.shape == (2, width)
    assert features.dtype == torch.float32
    transform = LAYERS_AFTER_THE_MAP.get(name, lambda image: image)
    assert_same(features, transform(last_map).mean((2, 3)))
    assert not [key for key in backbone.state_dict() if key.lower().startswith("aux")]


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("resnet5", "resnet50"),
        ("resnet_18", "resnet18"),
        ("mobilnet_v2", "mobilenet_v2"),
        ("ResNet50", "resnet50"),
        ("efficientnet", "efficientnet_b7"),
        ("", "resnet50"),
        ("fcn_resnet50", "resnet50"),
        ("quantized_mobilenet_v2", "mobilenet_v2"),
    ],
)
def test_build_backbone__unknown_name(name: str, similar: str) -> None:
    with pytest.raises(UsageError, match=f"^--backbone {name}: not a classification") as error:
        build_backbone(name)
    names = str(error.value).partition("use for example ")[2].split(", ")
    assert names.pop() == "or package.module:factory for your own code"
    assert names.pop() == "timm:NAME"
    assert similar in names
    assert len(names) <= 6
    assert set(names) <= set(torchvision.models.list_models(module=torchvision.models))


@pytest.mark.parametrize("prefix", ["timm/", "hf_hub:timm/", "hf-hub:"])
def test_build_backbone__notation_of_the_hub(prefix: str) -> None:
    name = f"{prefix}resnet18.a1_in1k"
    message = "networks of timm are named timm:NAME: give --backbone timm:resnet18.a1_in1k"
    with pytest.raises(UsageError, match=f"^--backbone {name}: {message}$"):
        build_backbone(name)


@pytest.mark.parametrize(
    ("name", "head", "suffix"),
    [
        ("resnet18", "fc", ".pth"),
        ("mobilenet_v3_small", "classifier", ".pth"),
        ("shufflenet_v2_x0_5", "fc", ".safetensors"),
        ("mnasnet0_5", "classifier", ".pth"),
        ("mnasnet0_5", "classifier", ".safetensors"),
        ("googlenet", "fc", ".safetensors"),
        ("inception_v3", "fc", ".pth"),
    ],
)
def test_load_weights__same_features_as_torchvision(
    name: str, head: str, suffix: str, image: torch.Tensor, tmp_path: Path
) -> None:
    network = make_network(name)
    path = save_state(network.state_dict(), tmp_path / f"weights{suffix}")
    backbone = build_backbone(name)
    load_weights(backbone, name, str(path))
    _, expected, _ = run_and_capture(network, image, head)
    with torch.inference_mode():
        assert_same(backbone(image), expected)


def test_load_weights__imagenet_file(boats_weights: Path, image: torch.Tensor) -> None:
    network = torchvision.models.get_model("mobilenet_v2", weights=None).eval()
    network.load_state_dict(torch.load(boats_weights, weights_only=True))
    backbone = build_backbone("mobilenet_v2")
    load_weights(backbone, "mobilenet_v2", str(boats_weights))
    _, expected, _ = run_and_capture(network, image, "classifier")
    with torch.inference_mode():
        assert_same(backbone(image), expected)


def test_load_weights__without_the_head(tmp_path: Path) -> None:
    state = build_backbone("mobilenet_v3_small").state_dict()
    path = save_state(state, tmp_path / "weights.safetensors")
    backbone = build_backbone("mobilenet_v3_small")
    load_weights(backbone, "mobilenet_v3_small", str(path))
    assert_same_state(backbone, state)


def test_load_weights__none_keeps_the_random_weights() -> None:
    backbone = build_backbone("squeezenet1_1")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    load_weights(backbone, "squeezenet1_1", "none")
    assert_same_state(backbone, before)


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("resnet18", "resnet34", r"layer1\.2\.conv1\.weight is missing"),
        ("resnet34", "resnet18", r"layer1\.2\.conv1\.weight is unexpected"),
        ("squeezenet1_0", "squeezenet1_1", "size mismatch for "),
        ("mobilenet_v3_small", "shufflenet_v2_x0_5", r"conv1\.0\.weight is missing"),
    ],
)
def test_load_weights__other_network(source: str, target: str, reason: str, tmp_path: Path) -> None:
    path = save_state(build_backbone(source).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(DataError, match=rf"weights\.pth: not weights of {target}: {reason}"):
        load_weights(build_backbone(target), target, str(path))


def test_load_state__old_densenet_keys() -> None:
    # The files of torchvision have .norm.1.weight instead of .norm1.weight.
    state = build_backbone("densenet121").state_dict()
    old = {}
    for key, value in state.items():
        parts = key.split(".")
        if any(part.startswith("denselayer") for part in parts):
            parts[-2] = f"{parts[-2][:-1]}.{parts[-2][-1]}"
        old[".".join(parts)] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    backbone = build_backbone("densenet121")
    load_state(backbone, old)
    assert_same_state(backbone, state)
