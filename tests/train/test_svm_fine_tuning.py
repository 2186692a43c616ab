import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boats_data.dataset import scan_dataset
from boats_train.finetune import planning, sampling, svm_backbone
from boats_train.finetune.cross_fitting import Comparison
from boats_train.pipeline import TrainingPipeline, TrainingResult, Workspace
from boats_train.plots import write_plots
from boats_train.result_tables import format_result
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import load_run, write_run
from support.process import run_module

OPTIONS = (
    "--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--image-size", "64x160",
    "--unfreeze", "2", "--epochs", "3", "--batch-size", "4", "--tune", "off", "--cache", "none",
)  # fmt: skip

Train = Callable[..., object]


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "granted_cpus", lambda: 0)


@pytest.fixture
def config(dataset_folder: Path) -> TrainConfig:
    return TrainConfig(
        str(dataset_folder), "svm", "shufflenet_v2_x0_5", "none", 64, 160,
        epochs=3, batch_size=4, unfreeze="2",
    )  # fmt: skip


def train_model(config: TrainConfig, folder: Path, lines: list[str]) -> TrainingResult:
    workspace = Workspace(None, folder / "work", False, lines.append)
    return TrainingPipeline(config, scan_dataset(Path(config.data)), workspace).run()


def test_run__fine_tuned_run_gives_the_same_probabilities(
    config: TrainConfig, tmp_path: Path
) -> None:
    lines: list[str] = []
    result = train_model(config, tmp_path, lines)
    folder = write_run(result.run, tmp_path, "run", lambda folder: write_plots(result, folder))
    run = load_run(folder)
    assert run.config == config
    fine_tuning = run.metrics["fine_tuning"]
    assert (fine_tuning["blocks"], fine_tuning["epochs"]) == ("2", len(result.history))
    cross_fitting = fine_tuning["cross_fitting"]
    assert cross_fitting["epochs"] == 1
    assert set(cross_fitting["fine_tuned"]) == set(cross_fitting["frozen"])
    assert run.metrics["cross_validation_with_valid"]["photos"] == 20
    assert (folder / "curves.png").is_file()
    assert "held_out_accuracy" in (folder / "curves.csv").read_text().splitlines()[0]
    assert "networks trained without the held-out images" in format_result(result)
    assert any(
        re.match(r"fine-tuning the last 2 blocks on 192x2x5 activ.*: about", x) for x in lines
    )
    assert any(line.startswith("cross-fitting: 3 x 1 epochs, then up to 3") for line in lines)


def test_run__auto_keeps_a_backbone_that_does_not_gain(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = train_model(replace(config, unfreeze="0", epochs=0, batch_size=0), tmp_path, [])
    monkeypatch.setattr(svm_backbone, "find_obstacle", lambda *_: None)
    monkeypatch.setattr(Comparison, "pays", property(lambda _: False))
    lines: list[str] = []
    result = train_model(replace(config, unfreeze="auto"), tmp_path, lines)
    (message,) = [line for line in lines if line.startswith("frozen backbone: ")]
    assert re.search(r"it does not pay: [+-]\d+\.\d points on [23] held-out folds", message)
    assert message.endswith("--unfreeze N trains its last N blocks anyway")
    np.testing.assert_array_equal(result.probabilities["valid"], frozen.probabilities["valid"])
    assert result.run.metrics["fine_tuning"]["blocks"] == "0"
    assert result.history == []


def test_run__auto_trains_a_backbone_that_gains(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svm_backbone, "find_obstacle", lambda *_: None)
    monkeypatch.setattr(Comparison, "pays", property(lambda _: True))
    monkeypatch.setattr(Comparison, "differences", property(lambda _: np.ones(3)))
    lines: list[str] = []
    result = train_model(replace(config, unfreeze="auto"), tmp_path, lines)
    assert result.run.metrics["fine_tuning"]["blocks"] == "5"
    assert any(line.startswith("fine-tuning pays: ") for line in lines)


def test_run__auto_refuses_a_long_training(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svm_backbone, "find_obstacle", lambda *_: None)
    monkeypatch.setattr(svm_backbone, "estimate_seconds", lambda *_: 3700.0)
    lines: list[str] = []
    train_model(replace(config, unfreeze="auto"), tmp_path, lines)
    assert any("would take about 62 min, more than 60 min" in line for line in lines)
    assert planning.MAX_MINUTES == 60


def test_run__all_blocks_are_trained_from_images(config: TrainConfig, tmp_path: Path) -> None:
    lines: list[str] = []
    result = train_model(replace(config, unfreeze="all", epochs=1), tmp_path, lines)
    assert result.run.metrics["fine_tuning"]["blocks"] == "all"
    assert not any("activations" in line for line in lines)


def test_train__auto_with_random_weights(
    train: Train, dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--data", dataset_folder, *OPTIONS[:6], "--cache", "none") == 0
    message = (
        "frozen backbone: the weights are random; --unfreeze N trains its last N blocks anyway"
    )
    assert message in capsys.readouterr().err
    assert load_run(Path("runs")).config.unfreeze == "auto"
    assert [path.name for path in Path("runs").glob(".*")] == []


def test_train__resumes_a_killed_fine_tuning(
    train: Train, dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", str(dataset_folder), *OPTIONS)
    killed = run_module("support.kill_svm_training", 8, *options)
    assert killed.returncode == -signal.SIGKILL
    (folder,) = Path("runs").glob(".training-*")
    assert train(*options, "--resume") == 0
    assert not folder.exists()
    resumed = load_run(Path("runs"))
    error = capsys.readouterr().err
    assert error.count("resuming after epoch 1 of ") == 2
    assert train(*options) == 0
    whole = load_run(Path("runs"))
    for key in ("splits", "cross_validation_with_valid", "operating_point"):
        assert resumed.metrics[key] == whole.metrics[key]
    for name, value in resumed.network.state_dict().items():
        np.testing.assert_array_equal(value, whole.network.state_dict()[name])
