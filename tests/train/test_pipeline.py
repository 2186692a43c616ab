from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boats_data.dataset import Dataset, scan_dataset
from boats_runtime.errors import UsageError
from boats_train.pipeline import Workspace, train_model, training_digest
from boats_train.plots import illustrate
from boats_train.report_comparison import compare, draw_comparison, to_markdown, write_comparison
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import load_run, write_run


@pytest.fixture
def dataset(dataset_folder: Path) -> Dataset:
    return scan_dataset(dataset_folder)


@pytest.fixture
def config(dataset_folder: Path) -> TrainConfig:
    return TrainConfig(str(dataset_folder), "svm", "resnet18", "none", 48, 96, tune=False)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def workspace(tmp_path: Path, lines: list[str]) -> Workspace:
    return Workspace(tmp_path / "cache", tmp_path / "work", False, lines.append)


def head(config: TrainConfig) -> TrainConfig:
    return replace(config, model="finetune", tune=True, learning_rate=1e-3, epochs=5, batch_size=8)


def test_train_model__remembers_features(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, lines: list[str]
) -> None:
    first = train_model(config, dataset, workspace)
    assert not any("features were in" in line for line in lines)
    again = train_model(config, dataset, workspace)
    assert any(line.startswith("train: 13 photos' features were in") for line in lines)
    for name, probabilities in first.probabilities.items():
        assert np.array_equal(again.probabilities[name], probabilities)


@pytest.mark.parametrize("model", ["svm", "finetune", "cnn"])
def test_train_model__a_run_read_back_gives_the_same_probabilities(
    model: str, config: TrainConfig, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    if model == "finetune":
        config = head(config)
    elif model == "cnn":
        config = replace(head(config), model="cnn", backbone="small_cnn", height=30, width=100)
    result = train_model(config, dataset, workspace)
    folder = write_run(result.run, tmp_path, "run", lambda scratch: illustrate(result, scratch))
    again = load_run(folder)
    assert again.config == config
    photo = again.preprocessing.apply(_open(dataset.splits["valid"].paths[0]))
    import torch

    with torch.inference_mode():
        features = again.network(torch.from_numpy(photo.copy())[None]).numpy()
    expected = result.probabilities["valid"][0]
    np.testing.assert_allclose(again.estimator.predict_proba(features)[0], expected, atol=0.02)
    pictures = {path.name for path in folder.glob("*.png")}
    own = {"coverage.png"} if model == "svm" else {"curves.png"}
    assert pictures == {"confusion.png", "reliability.png"} | own
    assert (folder / "curves.csv").exists() == (model != "svm")
    assert (folder / "events").exists() == (model != "svm")


def test_train_model__from_a_run_takes_its_network(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    first = train_model(config, dataset, workspace)
    folder = write_run(first.run, tmp_path, "first")
    again = train_model(replace(config, seed=9, from_run=str(folder)), dataset, workspace)
    for key, value in first.run.network.state_dict().items():
        assert (again.run.network.state_dict()[key] == value).all()
    other = replace(config, from_run=str(folder), width=128)
    with pytest.raises(UsageError, match="--from"):
        train_model(other, dataset, workspace)


def test_train_model__records_cross_validation_and_threshold(
    config: TrainConfig, dataset: Dataset, workspace: Workspace
) -> None:
    recorded = train_model(replace(config, tune=True), dataset, workspace).run.metrics
    assert len(recorded["cross_validation"]["tried"]) == 72
    assert recorded["cross_validation_with_valid"]["photos"] == 13 + 7
    assert 0 <= recorded["operating_point"]["threshold"] <= 1
    assert len(recorded["operating_point"]["curve"]) == 101


def test_compare__trains_every_model_of_the_report(
    config: TrainConfig, dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    outcomes = compare(replace(config, tune=True), dataset, workspace)
    assert [outcome.entry.name for outcome in outcomes] == [
        "--model cnn",
        "--model finetune --lr 1e-4",
        "--model finetune --lr 1e-2",
        "--model finetune --lr 1e-6",
        "--model svm --tune off",
        "--model svm",
    ]
    text = to_markdown(outcomes)
    assert "| `--model finetune --lr 1e-2` |" in text
    assert "| 0.727 |" in text
    for number in (1, 2, 3):
        assert f"## Table {number}" in text
    assert draw_comparison(outcomes).axes
    folder = tmp_path / "compared"
    write_comparison(outcomes, folder)
    assert {path.name for path in folder.iterdir()} == {"compare.md", "compare.json", "compare.png"}


def test_training_digest__changes_with_configuration_and_photos(
    config: TrainConfig, dataset: Dataset
) -> None:
    base = training_digest(config, dataset)
    assert training_digest(config, dataset) == base
    assert training_digest(replace(config, seed=1), dataset) != base
    fewer = replace(dataset, splits={"train": dataset.splits["train"]})
    assert training_digest(config, fewer) != base


def _open(path: Path):  # type: ignore[no-untyped-def]
    from boats_runtime.preprocessing import decode

    return decode(path)
