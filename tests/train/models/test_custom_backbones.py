import sys
from pathlib import Path

import pytest
import torch

from boats_runtime.errors import DataError, UsageError
from boats_runtime.preprocessing import IMAGENET_MEAN, Preprocessing
from boats_train.models.backbone import build_backbone, load_weights, make_preprocessing
from boats_train.models.sources import BackboneUnavailableError, default_weights, find_source
from support.networks import assert_same_state, save_state
from support.own_code import write_module


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return write_module(tmp_path)


@pytest.mark.parametrize(
    ("backbone", "source"),
    [
        ("resnet50", "torchvision"),
        ("small_cnn", "torchvision"),
        ("timm:resnet18.a1_in1k", "timm"),
        ("network:make", "custom"),
        ("my.package.network:Network.small", "custom"),
        ("hf-hub:timm/resnet18", "torchvision"),
        ("../network:make", "torchvision"),
        ("network:", "torchvision"),
    ],
)
def test_find_source__by_the_form_of_the_name(backbone: str, source: str) -> None:
    assert find_source(backbone) == source


def test_default_weights__own_code_keeps_its_own() -> None:
    assert [default_weights(name) for name in ("", "timm:x", "x:y")] == [
        "imagenet", "imagenet", "factory",
    ]  # fmt: skip


def test_build_backbone__module_of_the_current_folder(name: str) -> None:
    backbone = build_backbone(f"{name}:make")
    assert not backbone.training
    with torch.inference_mode():
        assert backbone(torch.zeros(2, 3, 32, 48)).shape == (2, 8)


def test_build_backbone__installed_package() -> None:
    assert build_backbone("torch.nn:Identity")(torch.ones(1, 3)).shape == (1, 3)


@pytest.mark.parametrize(
    ("module", "code", "factory", "message"),
    [
        ("missing_network", None, "make", "cannot be imported .*No module named 'missing_network'"),
        ("syntax", "def make(:", "make", "cannot be imported .*SyntaxError"),
        ("exits", "raise SystemExit(3)", "make", "cannot be imported .*SystemExit"),
        ("empty", "", "make", r"empty\w*\.py has no make"),
        ("number", "make = 3", "make", "make is not a function or class"),
        ("fails", "def make():\n    return 1 / 0", "make", r"failed: ZeroDiv.*fails\w*\.py:2\)"),
        ("other", "def make():\n    return 3", "make", "returned int, not a torch.nn.Module"),
    ],
)
def test_build_backbone__code_does_not_work(
    module: str,
    code: str | None,
    factory: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if code is not None:
        module = write_module(tmp_path, module, code)
    with pytest.raises(UsageError, match=f"^--backbone {module}:{factory}: .*{message}") as error:
        build_backbone(f"{module}:{factory}")
    assert "\n" not in str(error.value)


def test_make_preprocessing__attributes_of_the_factory(name: str) -> None:
    assert make_preprocessing(f"{name}:Halved", 32, 48) == Preprocessing(
        32, 48, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    )
    assert make_preprocessing(f"{name}:make", 32, 48).mean == IMAGENET_MEAN


@pytest.mark.parametrize(
    ("values", "message"),
    [("0.5", "its mean is 0.5, expected three numbers"), ("(127, 127, 127)", "0 to 1")],
)
def test_make_preprocessing__normalization_is_wrong(
    values: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = write_module(tmp_path, "wrong", f"class Network:\n    mean = {values}")
    with pytest.raises(UsageError, match=f"^--backbone {name}:Network: .*{message}"):
        make_preprocessing(f"{name}:Network", 32, 48)


def test_load_weights__as_the_code_made_them(name: str) -> None:
    backbone = build_backbone(f"{name}:make")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    origin = load_weights(backbone, f"{name}:make", "factory")
    assert_same_state(backbone, before)
    assert origin
    assert origin.to_json() == {"name": f"made by {name}:make", "license": "not stated"}


def test_load_weights__state_dict_of_own_code(name: str, tmp_path: Path) -> None:
    source, backbone = (build_backbone(f"{name}:make") for _ in range(2))
    path = save_state(source.state_dict(), tmp_path / "weights.safetensors")
    load_weights(backbone, f"{name}:make", str(path))
    assert_same_state(backbone, source.state_dict())
    with pytest.raises(DataError, match="not weights of"):
        load_weights(build_backbone(f"{name}:Halved"), f"{name}:Halved", str(path))


def test_load_weights__own_code_has_no_imagenet_weights(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"--weights imagenet: .* is your own code: omit --weights"
    ):
        load_weights(build_backbone(f"{name}:make"), f"{name}:make", "imagenet")
    with pytest.raises(UsageError, match="--weights factory: only for --backbone package"):
        load_weights(build_backbone("squeezenet1_1"), "squeezenet1_1", "factory")


def test_build_backbone__not_importable_is_unavailable() -> None:
    with pytest.raises(BackboneUnavailableError):
        build_backbone("missing_package.network:make")
