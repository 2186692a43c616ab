import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_export import cli as export_cli
from boats_runtime.classifier import Classifier
from boats_runtime.errors import UsageError
from boats_runtime.model.describe import inspect_file
from boats_train import cli as train_cli
from boats_train.runs.run import find_run, load_run
from support.own_code import CODE, write_module
from support.process import main_runner

Capture = pytest.CaptureFixture[str]
Main = Callable[..., object]
OPTIONS = ("--image-size", "32x80", "--tune", "off", "--cache", "none")


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Main:
    """`boats-train` in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return main_runner(monkeypatch, train_cli.main, "boats-train")


@pytest.fixture
def backbone(train: Main, dataset_folder: Path, tmp_path: Path) -> str:
    """Own code with a run in `runs`; importing the code again leaves a file `imported`."""
    code = f"from pathlib import Path\nPath('imported').touch()\n{CODE}"
    module = write_module(tmp_path, code=code)
    name = f"{module}:Halved"
    assert train("--data", dataset_folder, "--backbone", name, *OPTIONS) == 0
    del sys.modules[module]
    Path("imported").unlink()
    return name


def test_train__own_code(backbone: str) -> None:
    folder = find_run(Path("runs")).resolve()
    assert folder.name.endswith(f"-svm-{backbone.replace(':', '-')}")
    run = load_run(folder, backbone)
    assert (run.config.backbone, run.config.weights) == (backbone, "factory")
    assert run.preprocessing.mean == (0.5, 0.5, 0.5)
    assert run.metrics["weights"] == {"name": f"made by {backbone}", "license": "not stated"}


@pytest.mark.parametrize("named", ["", "other:make"])
def test_load_run__code_is_imported_only_if_it_is_named(backbone: str, named: str) -> None:
    with pytest.raises(UsageError, match=f"named? it: add --backbone {backbone}$") as error:
        load_run(Path("runs"), named)
    assert error.value.exit_code == 2
    assert not Path("imported").exists()
    load_run(Path("runs"), backbone)
    assert Path("imported").exists()


def test_load_run__backbone_of_a_library(tiny_run: Path) -> None:
    with pytest.raises(UsageError, match="its backbone is resnet18, not a:b: omit --backbone"):
        load_run(tiny_run, "a:b")


def test_train__from_a_run_of_own_code(
    backbone: str, train: Main, dataset_folder: Path, capsys: Capture
) -> None:
    options = ("--data", dataset_folder, "--from", "runs", "--tune", "off", "--cache", "none")
    assert train(*options) == 2
    assert capsys.readouterr().err.endswith(f"add --backbone {backbone}\n")
    assert not Path("imported").exists()
    assert train(*options, "--backbone", backbone) == 0
    run = load_run(Path("runs"), backbone)
    assert run.config.from_run
    assert run.metrics["weights"]["name"] == f"made by {backbone}"


def test_export__run_of_own_code(
    backbone: str, image_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    export = main_runner(monkeypatch, export_cli.main, "boats-export")
    assert export() == 2
    assert capsys.readouterr().err.endswith(f"add --backbone {backbone}\n")
    assert not Path("imported").exists()
    assert export("--backbone", backbone, "--card") == 0
    assert f"made by {backbone}" in Path("boats.md").read_text().replace("\\", "")
    assert inspect_file(Path("boats.onnx")).provenance["config"]["backbone"] == backbone
    module = backbone.partition(":")[0]
    del sys.modules[module]
    Path("imported").unlink()
    assert Classifier(Path("boats.onnx"), "cpu").predict(image_path).label  # without the code
    assert not Path("imported").exists()


def test_train__changed_code_has_other_features(
    train: Main, dataset_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    module = write_module(tmp_path)
    options = ("--data", dataset_folder, "--backbone", f"{module}:Halved", *OPTIONS[:4])
    cache = ("--cache", tmp_path / "cache")
    for expected in (False, True):
        assert train(*options, *cache) == 0
        assert ("read from" in capsys.readouterr().err) == expected
    # The same layers and the same weights in another order of calculation.
    forward = "    def forward(self, images):\n        return super().forward(images.flip(1))\n"
    (tmp_path / f"{module}.py").write_text(f"{CODE}\n{forward}")
    del sys.modules[module]
    assert train(*options, *cache) == 0
    assert "read from" not in capsys.readouterr().err
