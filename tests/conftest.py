"""What the tests share: a drawn picture set, a run and a model made of it, the commands."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.images import write_dataset

if TYPE_CHECKING:
    import onnx

    from boats_runtime.classifier import Classifier
    from boats_train.runs.run import Run

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands have it

# PyTorch and the rest are imported by the fixtures that use them: most tests don't.


@pytest.fixture(scope="session", autouse=True)
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give the tests and the commands that they start a feature cache of their own."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture set of three classes of unequal size, with `train`, `valid` and `test`."""
    root = tmp_path_factory.mktemp("dataset")
    write_dataset(root)
    return root


@pytest.fixture(scope="session")
def image_path(dataset_folder: Path) -> Path:
    """A photo of the class `topa`."""
    return dataset_folder / "test" / "topa" / "00.jpg"


@pytest.fixture(scope="session")
def tiny_run(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run trained on `dataset_folder`: random ResNet18 and SVM, at 64x160."""
    from boats_data.dataset import scan_dataset
    from boats_train.pipeline import Workspace, train_model
    from boats_train.runs.config import TrainConfig
    from boats_train.runs.run import write_run

    config = TrainConfig(str(dataset_folder), "svm", "resnet18", "none", 64, 160, tune=False)
    runs = tmp_path_factory.mktemp("runs")
    workspace = Workspace(None, runs / "work", resume=False, log=lambda _: None)
    result = train_model(config, scan_dataset(dataset_folder), workspace)
    return write_run(result.run, runs, "tiny")


@pytest.fixture(scope="session")
def loaded_run(tiny_run: Path) -> "Run":
    """`tiny_run` read back."""
    from boats_train.runs.run import load_run

    return load_run(tiny_run)


@pytest.fixture(scope="session")
def tiny_model(loaded_run: "Run", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_run` exported and proved on its valid photos."""
    from boats_export.export import Settings, export_run
    from boats_export.verification_images import load_verification_images

    out = tmp_path_factory.mktemp("model") / "boats.onnx"
    valid = load_verification_images(loaded_run, None, "valid")
    export_run(loaded_run, out, valid, None, Settings(), lambda _: None)
    return out


@pytest.fixture(scope="session")
def tiny_network(loaded_run: "Run") -> "onnx.ModelProto":
    """The network of `tiny_run` as a graph; to be copied before it is changed."""
    from boats_export.network import export_network

    return export_network(loaded_run.network, loaded_run.preprocessing)


@pytest.fixture(scope="session")
def classifier(tiny_model: Path) -> "Classifier":
    """`tiny_model` opened on the CPU."""
    from boats_runtime.classifier import Classifier

    return Classifier(tiny_model, "cpu")


@pytest.fixture(scope="session")
def boats_data() -> Path:
    """The folder of the real photos that BOATS_DATA names."""
    return _named_by("BOATS_DATA", "a folder with train/ and valid/ of real photos", Path.is_dir)


@pytest.fixture(scope="session")
def boats_weights() -> Path:
    """The ImageNet MobileNetV2 that BOATS_WEIGHTS names."""
    return _named_by("BOATS_WEIGHTS", "a state dict of mobilenet_v2", Path.is_file)


def _named_by(variable: str, what: str, is_there: Callable[[Path], bool]) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names {what}")
    if not is_there(Path(value)):
        pytest.skip(f"{variable}={value} is not there: it names {what}")
    return Path(value)
