from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from boats_train.finetune.activation_trainer import compute_features
from boats_train.finetune.trainer import FineTuningData
from support.cross_fitting import SETTINGS, change, make_source
from support.fine_tuning import PREPROCESSING, make_network


def test_train_epoch__lowers_the_loss(data: FineTuningData, tmp_path: Path) -> None:
    *_, source = make_source(data, tmp_path)
    settings = change(epochs=8)
    learner = source.start(source.images.train, source.images.valid, settings, copy=True)
    losses = [learner.train_epoch(epoch)["train_loss"] for epoch in range(1, 9)]
    assert np.mean(losses[-2:]) < losses[0] - 0.1
    metrics = learner.evaluate()
    assert metrics["valid_accuracy"] > 0.5
    assert 0 <= metrics["valid_macro_f1"] <= 1


def test_train_epoch__trains_the_last_blocks_alone(data: FineTuningData, tmp_path: Path) -> None:
    network, _, _, source = make_source(data, tmp_path)
    before = deepcopy(network.state_dict())
    learner = source.start(source.images.train, source.images.valid, SETTINGS, copy=False)
    learner.train_epoch(1)
    learner.load_averaged()
    changed = {
        name.split(".")[1]
        for name, value in network.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"second", "third"}
    norm = "backbone.second.0.running_mean"
    assert torch.equal(network.state_dict()[norm], before[norm])  # statistics are frozen
    assert not network.training


def test_train_epoch__copy_leaves_the_network_unchanged(
    data: FineTuningData, tmp_path: Path
) -> None:
    network, _, _, source = make_source(data, tmp_path)
    learner = source.start(source.images.train, source.images.valid, SETTINGS, copy=True)
    learner.train_epoch(1)
    expected = make_network().state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name])
    assert np.abs(learner.compute_features() - source.compute_frozen_features()).max() > 1e-3


def test_compute_features__those_of_the_trained_network(
    data: FineTuningData, tmp_path: Path
) -> None:
    network, split, cache, source = make_source(data, tmp_path)
    learner = source.start(source.images.train, source.images.valid, SETTINGS, copy=False)
    learner.train_epoch(1)
    features = learner.compute_features()
    learner.load_averaged()
    pixels = np.stack([PREPROCESSING.read(path) for path in source.images.paths])
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(features, expected, rtol=0, atol=2e-2)  # stored as float16
    count = len(source.images.paths)
    np.testing.assert_allclose(features, compute_features(split.suffix, cache, count), atol=1e-5)


def test_train_epoch__mirrors_images(data: FineTuningData, tmp_path: Path) -> None:
    *_, cache, source = make_source(data, tmp_path)
    flips: list[bool] = []
    take = cache.take

    def record(indices: list[int], mirrored: list[bool]) -> torch.Tensor:
        flips.extend(mirrored)
        return take(indices, mirrored)

    cache.take = record  # type: ignore[method-assign]
    learner = source.start(source.images.train, source.images.valid, SETTINGS, copy=True)
    learner.train_epoch(1)
    assert {True, False} == set(flips)
