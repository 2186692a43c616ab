from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from boats_train.finetune import recipe as recipe_module
from boats_train.finetune.loop import CHECKPOINT, CURVES, Checkpoint, EpochMetrics
from boats_train.finetune.trainer import FineTuningData, Trainer
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from support.fine_tuning import PREPROCESSING, FineTuned, fine_tune_small, make_network

Train = Callable[..., FineTuned]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path, resume=False)


@pytest.fixture
def train(data: FineTuningData, checkpoint: Checkpoint) -> Train:
    return partial(fine_tune_small, data, checkpoint)


def set_scores(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[torch.Tensor]:
    """Replace the evaluation by given scores; return a list of the evaluated layer weights."""
    remaining: Iterator[float] = iter(scores)
    weights: list[torch.Tensor] = []

    def evaluate(trainer: Trainer) -> EpochMetrics:
        weights.append(trainer.state["averaged"].state_dict()["module.1.weight"].clone())
        return {"valid_macro_f1": next(remaining)}

    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    return weights


def assert_equal(trained: FineTuned, expected: FineTuned) -> None:
    """Compare weights bit by bit, and the histories."""
    for module, expected_module in zip(trained[:2], expected[:2], strict=True):
        weights, expected_weights = module.state_dict(), expected_module.state_dict()
        assert all(torch.equal(weights[name], expected_weights[name]) for name in weights)
    assert trained[2] == expected[2]


@pytest.mark.parametrize(("unfreeze", "blocks"), [("all", "all"), ("2", "last 2")])
def test_fine_tune__lowers_the_loss(
    unfreeze: str, blocks: str, train: Train, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = FeatureNetwork(build_backbone("squeezenet1_1"), PREPROCESSING)
    lines: list[str] = []
    _, layer, history = train(
        network, log=lines.append, learning_rate=3e-4, epochs=4, unfreeze=unfreeze
    )
    assert layer.weight.shape == (3, 512)
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]
    assert list(history[0]) == [
        "epoch", "train_loss", "train_accuracy", "rate", "valid_loss", "valid_accuracy",
        "valid_macro_f1",
    ]  # fmt: skip
    assert lines[0].startswith(f"fine-tuning the backbone's blocks ({blocks}): ")
    assert lines[0].endswith(" weights, 13 images, 4 steps an epoch of 4 images, 1 x cpu")
    assert [line.split(":")[0] for line in lines[1:]] == [f"epoch {n}" for n in range(1, 5)]
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, CURVES}


def test_fine_tune__seed_determines_the_result(train: Train) -> None:
    trained = train()
    assert_equal(train(), trained)
    assert train(seed=1)[2] != trained[2]


def test_fine_tune__network_is_ready_for_inference(train: Train) -> None:
    network, layer, _ = train(unfreeze="2")
    assert not any(module.training for module in (*network.modules(), layer))
    assert all(weight.requires_grad and weight.is_contiguous() for weight in network.parameters())
    assert list(network.state_dict()) == list(make_network().state_dict())


def test_fine_tune__only_the_last_blocks_change(train: Train) -> None:
    before, after = make_network().state_dict(), train(unfreeze="2")[0].state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    # The BatchNorm of the second module belongs to the first block.
    assert {name for name in changed if name.endswith(("weight", "bias"))} == {
        f"backbone.{name}"
        for name in ("second.2.weight", "second.2.bias", "third.2.weight", "third.2.bias")
    }


def test_fine_tune__statistics_of_pretrained_weights_do_not_change(train: Train) -> None:
    network = make_network()
    norm = network.get_submodule("backbone.second.0")
    assert isinstance(norm, nn.BatchNorm2d)
    bias = nn.init.constant_(norm.bias, 0.1).detach().clone()  # random weights have zero
    before = {name: value.clone() for name, value in norm.named_buffers()}
    train(network)
    assert all(torch.equal(before[name], value) for name, value in norm.named_buffers())
    assert not torch.equal(norm.bias, bias)


def test_fine_tune__returns_the_best_epoch(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = set_scores(monkeypatch, [0.2, 0.9, 0.1, 0.9])
    lines: list[str] = []
    _, layer, history = train(epochs=4, log=lines.append)
    assert [epoch["valid_macro_f1"] for epoch in history] == [0.2, 0.9, 0.1, 0.9]
    assert [torch.equal(layer.weight, weight) for weight in weights] == [False, True, False, False]
    assert [line.endswith("the best so far") for line in lines[1:]] == [True, True, False, False]


def test_fine_tune__stops_early_also_when_resumed(
    data: FineTuningData, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_module, "PATIENCE", 2)
    set_scores(monkeypatch, [0.2, 0.5, 0.5, 0.4])
    stopped = fine_tune_small(data, checkpoint, epochs=20)
    assert len(stopped[2]) == 4
    resumed = fine_tune_small(data, Checkpoint(checkpoint.folder, resume=True), epochs=20)
    assert_equal(resumed, stopped)
