from collections.abc import Callable
from pathlib import Path

import pytest

from boats_train.models.sources import BUNDLED, demo_backbone
from boats_train.runs.run import read_config, read_metrics


def test_train__demo_with_real_weights_is_accurate(train: Callable[..., object]) -> None:
    if demo_backbone() != BUNDLED:
        pytest.skip("the extra demo is not installed")
    # Smaller than by default, for the time of the test.
    options = ("--image-size", "128x416", "--cache", "none")
    assert train("--demo", *options) == 0
    config, metrics = read_config(Path("runs")), read_metrics(Path("runs"))
    assert (config.backbone, config.weights, config.unfreeze) == (BUNDLED, "imagenet", "0")
    assert metrics["weights"]["license"] == "Apache-2.0"
    assert metrics["splits"]["test"]["accuracy"] > 0.9


def test_train__demo_with_a_given_backbone(train: Callable[..., object]) -> None:
    options = ("--image-size", "32x96", "--tune", "off", "--cache", "none")
    weights = ("--backbone", "shufflenet_v2_x0_5", "--weights", "none")
    assert train("--demo", *weights, *options) == 0
    assert read_config(Path("runs")).backbone == "shufflenet_v2_x0_5"
    assert "weights" not in read_metrics(Path("runs"))
