import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.optimization import (
    LABEL_SMOOTHING,
    ClassifierLayer,
    Regularization,
    mix,
    set_training_mode,
)
from boats_train.finetune.trainer import FineTuningData, Trainer
from support.fine_tuning import SETTINGS, make_network

INPUTS = torch.arange(8.0).reshape(4, 2)
TARGETS = torch.tensor([0, 1, 2, 0])


def test_mix__without_mixup_is_the_batch_itself() -> None:
    batch = mix(INPUTS, TARGETS, 0.0)
    assert batch.inputs is INPUTS
    logits = torch.randn(4, 3)
    expected = cross_entropy(logits, TARGETS, label_smoothing=LABEL_SMOOTHING)
    assert batch.compute_loss(logits) == expected


def test_mix__inputs_and_targets_by_the_same_weight() -> None:
    torch.manual_seed(0)
    batch = mix(INPUTS, TARGETS, 5.0)
    assert 0 < batch.weight < 1
    first = (batch.inputs - batch.weight * INPUTS) / (1 - batch.weight)
    order = (first[:, 0] / 2).round().long()
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert torch.equal(batch.partners, TARGETS[order])
    logits = torch.randn(4, 3)
    one_hot = nn.functional.one_hot(TARGETS, 3) * batch.weight
    one_hot = one_hot + nn.functional.one_hot(batch.partners, 3) * (1 - batch.weight)
    expected = cross_entropy(logits, one_hot, label_smoothing=LABEL_SMOOTHING)
    torch.testing.assert_close(batch.compute_loss(logits), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_classifier_layer__dropout_in_training_alone(dropout: float) -> None:
    layer, features = ClassifierLayer(50, 3, dropout), torch.ones(2, 50)
    state = torch.get_rng_state()
    trained = layer.train()(features)
    assert torch.equal(torch.get_rng_state(), state) is (dropout == 0)
    evaluated = layer.eval()(features)
    assert torch.equal(trained, evaluated) is (dropout == 0)
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_set_training_mode__batchnorm_keeps_its_statistics() -> None:
    network = make_network()
    set_training_mode(network, [network])
    modes = {type(module): module.training for module in network.modules()}
    assert modes[nn.Dropout]
    assert not modes[nn.BatchNorm2d]


def test_trainer__regularization_of_images(data: FineTuningData) -> None:
    regularization = Regularization(head_factor=5.0, dropout=0.2, mixup=0.2)
    trainer = Trainer(make_network(), data, SETTINGS, DistributedContext(), regularization)
    assert trainer.state["optimizer"].param_groups[2]["initial_lr"] == pytest.approx(5e-3)
    plain = Trainer(make_network(), data, SETTINGS, DistributedContext())
    losses = []
    for model in (trainer, plain):
        torch.manual_seed(0)
        losses.append(model.train_epoch(1)["train_loss"])
    assert losses[0] != losses[1]
