import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from boats_runtime.errors import UsageError
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.optimization import schedule
from boats_train.finetune.trainer import FineTuningData, Trainer
from support.fine_tuning import SETTINGS, make_network


def make_trainer(data: FineTuningData, **settings: Any) -> Trainer:
    return Trainer(make_network(), data, replace(SETTINGS, **settings), DistributedContext())


def test_schedule__warms_up_and_decays_to_zero() -> None:
    factors = [schedule(step, 100) for step in range(101)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert factors[10] == 1
    assert all(np.diff(factors[10:]) < 0)
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_schedule__few_steps(steps: int) -> None:
    assert all(0 < schedule(step, steps) <= 1 for step in range(steps))
    assert math.isfinite(schedule(steps, steps))  # the scheduler looks one step ahead


def test_trainer__computes_the_statistics_of_random_weights(data: FineTuningData) -> None:
    network = make_network()
    Trainer(network, data, SETTINGS, DistributedContext())
    norm = network.get_submodule("backbone.second.0")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_mean.abs().min() > 0
    assert norm.momentum == 0.1
    assert not norm.training


def test_trainer__biases_have_no_decay_and_the_layer_a_higher_rate(data: FineTuningData) -> None:
    trainer = make_trainer(data, unfreeze="2")
    groups = trainer.state["optimizer"].state_dict()["param_groups"]
    assert [(group["weight_decay"] > 0, group["initial_lr"]) for group in groups] == [
        (True, 1e-3), (False, 1e-3), (True, 1e-2), (False, 1e-2),
    ]  # fmt: skip
    assert [len(group["params"]) for group in groups] == [2, 2, 1, 1]


def test_train_epoch__follows_the_schedule(data: FineTuningData) -> None:
    trainer = make_trainer(data)
    rates = [trainer.train_epoch(epoch)["rate"] for epoch in (1, 2)]
    assert rates == pytest.approx([1e-3 * schedule(step, 12) for step in (3, 7)])


def test_train_epoch__averages_the_weights_over_about_one_epoch(data: FineTuningData) -> None:
    trainer = make_trainer(data, batch_size=32)  # one step per epoch: more than all images
    weights = []
    for epoch in (1, 2):
        trainer.train_epoch(epoch)
        weights.append(trainer.state["model"][1].weight.detach().clone())
    averaged = trainer.state["averaged"].module[1].weight
    torch.testing.assert_close(averaged, torch.lerp(weights[1], weights[0], math.exp(-1)))


def test_evaluate__uses_the_averaged_weights(data: FineTuningData) -> None:
    trainer = make_trainer(data)
    trainer.train_epoch(1)
    metrics = trainer.evaluate()
    for weight in trainer.state["model"].parameters():
        nn.init.zeros_(weight)
    assert trainer.evaluate() == metrics


def test_evaluate__metrics_of_the_validation_images(data: FineTuningData) -> None:
    trainer = make_trainer(data)
    metrics = trainer.evaluate()
    pixels = np.stack([data.preprocessing.read(path) for path in data.valid.paths])
    targets = torch.from_numpy(data.valid.targets)
    with torch.inference_mode():
        logits = trainer.state["averaged"](torch.from_numpy(pixels))
    assert metrics["valid_accuracy"] == np.mean((logits.argmax(1) == targets).numpy())
    expected = nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    assert metrics["valid_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_trainer__batch_cannot_be_shared(data: FineTuningData) -> None:
    settings = replace(SETTINGS, batch_size=5)
    with pytest.raises(UsageError, match=r"--batch-size 5: .* give a multiple of 2"):
        Trainer(make_network(), data, settings, DistributedContext(0, 2))
