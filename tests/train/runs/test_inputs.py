import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from boats_train.runs.config import TrainConfig
from boats_train.runs.inputs import digest_inputs


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig("data", "svm", "resnet18", "none", 48, 96)


@pytest.mark.parametrize("weights", ["none", "imagenet", "missing.pth"])
def test_digest_inputs__no_file(config: TrainConfig, weights: str) -> None:
    assert digest_inputs(replace(config, weights=weights)) == {}


def test_digest_inputs__weights_file(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    assert digest_inputs(replace(config, weights=str(path))) == {"weights": sha256(path)}


def test_digest_inputs__another_run(config: TrainConfig, tiny_run: Path) -> None:
    expected = {"from_run": sha256(tiny_run / "digests.json")}
    assert digest_inputs(replace(config, from_run=str(tiny_run))) == expected
    assert digest_inputs(replace(config, from_run=str(tiny_run.parent))) == expected
