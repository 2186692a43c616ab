"""Fixtures of all tests: a dataset, a run trained on it, and its exported model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import boats_runtime  # noqa: F401  # turns off the telemetry before tests import ONNX Runtime
from support.images import write_dataset

if TYPE_CHECKING:
    import onnx

    from boats_runtime.classifier import Classifier
    from boats_train.runs.run import Run

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the commands

# Fixtures import PyTorch and the packages that need it: most tests do not.


@pytest.fixture(scope="session", autouse=True)
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set an empty feature cache for the tests and the commands that they start."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three classes of unequal size with `train`, `valid` and `test`."""
    root = tmp_path_factory.mktemp("dataset")
    write_dataset(root)
    return root


@pytest.fixture(scope="session")
def image_path(dataset_folder: Path) -> Path:
    """An image of the class `topa`."""
    return dataset_folder / "test" / "topa" / "00.jpg"


@pytest.fixture(scope="session")
def tiny_run(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: SVM on a random ResNet18 at 64x160, trained on `dataset_folder`."""
    from boats_data.dataset import scan_dataset
    from boats_train.pipeline import TrainingPipeline, Workspace
    from boats_train.runs.config import TrainConfig
    from boats_train.runs.run import write_run

    config = TrainConfig(str(dataset_folder), "svm", "resnet18", "none", 64, 160, tune=False)
    runs = tmp_path_factory.mktemp("runs")
    workspace = Workspace(None, runs / "work", resume=False, log=lambda _: None)
    result = TrainingPipeline(config, scan_dataset(dataset_folder), workspace).run()
    return write_run(result.run, runs, "tiny")


@pytest.fixture(scope="session")
def loaded_run(tiny_run: Path) -> "Run":
    """The run in `tiny_run`."""
    from boats_train.runs.run import load_run

    return load_run(tiny_run)


@pytest.fixture(scope="session")
def tiny_model(loaded_run: "Run", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_run` exported and verified on its validation images."""
    from boats_export.export import Exporter, ExportSettings

    out = tmp_path_factory.mktemp("model") / "boats.onnx"
    Exporter(loaded_run, ExportSettings(), lambda _: None).export(out)
    return out


@pytest.fixture(scope="session")
def tiny_network(loaded_run: "Run") -> "onnx.ModelProto":
    """The network of `tiny_run` as an ONNX graph; copy it before changing it."""
    from boats_export.network import export_network

    return export_network(loaded_run.network, loaded_run.preprocessing)


@pytest.fixture(scope="session")
def classifier(tiny_model: Path) -> "Classifier":
    """A classifier with `tiny_model` on the CPU."""
    from boats_runtime.classifier import Classifier

    return Classifier(tiny_model, "cpu")


@pytest.fixture(scope="session")
def boats_data() -> Path:
    """The dataset of real images that BOATS_DATA names."""
    return _get_path("BOATS_DATA", "a dataset of real images with train/ and valid/")


@pytest.fixture(scope="session")
def boats_weights() -> Path:
    """The ImageNet weights of MobileNetV2 that BOATS_WEIGHTS names."""
    return _get_path("BOATS_WEIGHTS", "a state dict of mobilenet_v2")


def _get_path(variable: str, content: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).exists():
        pytest.skip(f"{variable}={value or ''}: set it to {content}")
    return Path(value)
