import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from boats_data.dataset import Dataset, scan_dataset
from boats_runtime.decoding import decode
from boats_runtime.errors import UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features import inference
from boats_train.pipeline import TrainingPipeline, Workspace
from boats_train.plots import write_plots
from boats_train.report_comparison import format_comparison, train_report_models, write_comparison
from boats_train.result_tables import format_cross_validation, format_result
from boats_train.runs.config import TrainConfig
from boats_train.runs.inputs import training_digest
from boats_train.runs.run import Run, load_run, write_run


@pytest.fixture
def dataset(dataset_folder: Path) -> Dataset:
    return scan_dataset(dataset_folder)


@pytest.fixture
def config(dataset_folder: Path) -> TrainConfig:
    return TrainConfig(str(dataset_folder), "svm", "resnet18", "none", 48, 96, tune=False)


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def workspace(tmp_path: Path, messages: list[str]) -> Workspace:
    return Workspace(tmp_path / "cache", tmp_path / "work", False, messages.append)


def test_run__reads_cached_features(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, messages: list[str]
) -> None:
    first = TrainingPipeline(config, dataset, workspace).run()
    assert not any("features of" in message for message in messages)
    second = TrainingPipeline(config, dataset, workspace).run()
    assert f"train: features of 13 images read from {workspace.cache}" in messages
    for name, probabilities in first.probabilities.items():
        np.testing.assert_array_equal(second.probabilities[name], probabilities)


@pytest.mark.parametrize(
    ("model", "plot"),
    [("svm", "coverage.png"), ("finetune", "curves.png"), ("cnn", "curves.png")],
)
def test_run__written_run_gives_the_same_probabilities(
    model: str,
    plot: str,
    config: TrainConfig,
    dataset: Dataset,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    if model != "svm":
        config = replace(config, model=model, tune=True, learning_rate=1e-3, epochs=5, batch_size=8)
    if model == "cnn":
        config = replace(config, backbone="small_cnn", height=30, width=100)
    result = TrainingPipeline(config, dataset, workspace).run()
    folder = write_run(result.run, tmp_path, "run", lambda folder: write_plots(result, folder))
    run = load_run(folder)
    assert run.config == config
    pixels = run.preprocessing.apply(decode(dataset.splits["valid"].paths[0]))
    with torch.inference_mode():
        features = run.network(torch.from_numpy(pixels.copy())[None]).numpy()
    expected = result.probabilities["valid"][0]
    np.testing.assert_allclose(run.estimator.predict_proba(features)[0], expected, atol=0.02)
    plots = {path.name for path in folder.glob("*.png")}
    assert plots == {"confusion.png", "reliability.png", plot}
    assert (folder / "curves.csv").exists() == (model != "svm")


def test_run__network_of_another_run(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    source = TrainingPipeline(config, dataset, workspace).run().run
    folder = write_run(source, tmp_path, "source")
    config = replace(config, seed=9, from_run=str(folder))
    run = TrainingPipeline(config, dataset, workspace).run().run
    for key, value in source.network.state_dict().items():
        assert torch.equal(run.network.state_dict()[key], value)
    assert "from_run" in run.metrics["inputs"]


def test_run__keeps_the_preprocessing_of_another_run(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    source = TrainingPipeline(config, dataset, workspace).run().run
    old = replace(source.preprocessing, version=1)
    folder = write_run(replace(source, preprocessing=old), tmp_path, "source")
    config = replace(config, from_run=str(folder))
    assert TrainingPipeline(config, dataset, workspace).run().run.preprocessing == old


def test_run__network_of_a_cnn_run(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    cnn = replace(
        config, model="cnn", tune=True, backbone="small_cnn", height=30, width=100,
        learning_rate=1e-3, epochs=1, batch_size=8,
    )  # fmt: skip
    source = TrainingPipeline(cnn, dataset, workspace).run().run
    folder = write_run(source, tmp_path, "source")
    svm = replace(config, backbone="small_cnn", height=30, width=100, from_run=str(folder))
    run = TrainingPipeline(svm, dataset, workspace).run().run
    loaded = load_run(write_run(run, tmp_path, "svm"))
    for key, value in source.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 128}, "--from {}: the network of this run takes images of 48x96, not 48x128"),
        ({"classes": ("a", "b", "c")}, "--from {}: this run has other classes than the dataset: "),
    ],
)
def test_run__other_classes_or_image_size_than_the_source_run(
    changes: dict[str, Any],
    message: str,
    config: TrainConfig,
    dataset: Dataset,
    workspace: Workspace,
    loaded_run: Run,
    tmp_path: Path,
) -> None:
    preprocessing = Preprocessing(config.height, config.width)
    folder = write_run(replace(loaded_run, preprocessing=preprocessing), tmp_path, "source")
    config = replace(config, from_run=str(folder), width=changes.get("width", config.width))
    dataset = replace(dataset, classes=changes.get("classes", dataset.classes))
    with pytest.raises(UsageError, match=re.escape(message.format(folder))):
        TrainingPipeline(config, dataset, workspace).run()


def test_run__evaluates_float32_features(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_find_16_bit_type", lambda _: torch.bfloat16)
    monkeypatch.setattr(inference, "TOLERANCE", 1.0)
    result = TrainingPipeline(config, dataset, workspace).run()
    assert result.run.metrics["features"] == {
        "train": "bfloat16", "valid": "float32", "test": "float32",
    }  # fmt: skip
    for name in ("valid", "test"):
        pixels = np.stack(
            [result.run.preprocessing.apply(decode(path)) for path in dataset.splits[name].paths]
        )
        with torch.inference_mode():
            features = result.run.network(torch.from_numpy(pixels)).numpy()
        expected = result.run.estimator.predict_proba(features)
        np.testing.assert_allclose(result.probabilities[name], expected, rtol=0, atol=1e-5)


def test_run__records_cross_validation_and_threshold(
    config: TrainConfig, dataset: Dataset, workspace: Workspace
) -> None:
    result = TrainingPipeline(replace(config, tune=True), dataset, workspace).run()
    metrics = result.run.metrics
    assert len(metrics["cross_validation"]["tried"]) == 72
    assert set(metrics["cross_validation"]["chosen"]) == {
        "scaling", "gamma", "gamma_factor", "cost", "class_weight", "fold_accuracy",
        "mean_accuracy", "macro_f1",
    }  # fmt: skip
    names = ("cross_validation", "cross_validation_with_valid", "operating_point")
    assert [(metrics[name]["splits"], metrics[name]["photos"]) for name in names] == [
        (["train"], 13),
        (["train", "valid"], 13 + 7),
        (["train"], 13),
    ]
    selection = metrics["operating_point"]
    assert len(selection["curve"]) == 101
    lines = format_result(result).splitlines()
    assert lines[4].startswith("intervals over images without groups")
    assert lines[6:10] == format_cross_validation(metrics)


@pytest.mark.parametrize(("pattern", "unit"), [(r"(\d)\.jpg", "groups"), ("", "images")])
def test_run__intervals_over_groups(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, pattern: str, unit: str
) -> None:
    result = TrainingPipeline(replace(config, groups=pattern), dataset, workspace).run()
    assert {split.intervals.unit for split in result.metrics.values()} == {unit}


def test_train_report_models__tables_of_the_report(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    results = train_report_models(replace(config, tune=True), dataset, workspace)
    assert list(results) == [
        "--model cnn",
        "--model finetune --lr 1e-4",
        "--model finetune --lr 1e-2",
        "--model finetune --lr 1e-6",
        "--model svm --tune off",
        "--model svm",
    ]
    lines = format_comparison(results).splitlines()
    assert "| model | train | valid | test | test macro-F1 | report, test |" in lines
    metrics = results["--model finetune --lr 1e-2"].metrics
    cells = [f"{metrics[name].accuracy:.3f}" for name in ("train", "valid", "test")]
    cells.append(f"{metrics['test'].macro_f1:.3f}")
    assert f"| `--model finetune --lr 1e-2` | {' | '.join(cells)} | 0.727 |" in lines
    write_comparison(results, tmp_path / "comparison")
    files = {path.name for path in (tmp_path / "comparison").iterdir()}
    assert files == {"compare.md", "compare.json", "compare.png"}


def test_training_digest__depends_on_configuration_and_images(
    config: TrainConfig, dataset: Dataset
) -> None:
    digest = training_digest(config, dataset)
    assert training_digest(config, dataset) == digest
    assert training_digest(replace(config, seed=1), dataset) != digest
    smaller = replace(dataset, splits={"train": dataset.splits["train"]})
    assert training_digest(config, smaller) != digest


def test_training_digest__depends_on_the_content_of_the_images(
    config: TrainConfig, dataset_folder: Path, tmp_path: Path
) -> None:
    dataset = scan_dataset(Path(shutil.copytree(dataset_folder, tmp_path / "images")))
    digest = training_digest(config, dataset)
    image = dataset.splits["train"].paths[0]
    image.write_bytes(dataset.splits["train"].paths[1].read_bytes())
    assert training_digest(config, dataset) != digest
