from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from boats_train.finetune.linear_head import HeadSettings, to_logistic_regression, train_in_memory
from boats_train.finetune.loop import CURVES, Checkpoint, format_curves
from support.fine_tuning import make_features, make_layer

SETTINGS = HeadSettings(learning_rate=1e-2, epochs=8, batch_size=16, seed=5)


def test_train_in_memory__lowers_the_loss_and_writes_the_curves(tmp_path: Path) -> None:
    layer = make_layer()
    history = train_in_memory(
        layer, make_features(), make_features(seed=1), SETTINGS, Checkpoint(tmp_path, resume=False)
    )
    assert [epoch["epoch"] for epoch in history] == list(range(1, 9))
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert not layer.training
    assert (tmp_path / CURVES).read_text() == format_curves(history)
    assert list(history[0]) == [
        "epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy",
    ]  # fmt: skip


def test_train_in_memory__evaluates_the_validation_set() -> None:
    layer, valid = make_layer(), make_features(seed=1)
    last = train_in_memory(layer, make_features(), valid, SETTINGS)[-1]
    logits = layer(torch.from_numpy(valid.inputs)).detach()
    targets = torch.from_numpy(valid.targets)
    assert last["valid_loss"] == pytest.approx(float(cross_entropy(logits, targets)), rel=1e-5)
    assert last["valid_accuracy"] == np.mean((logits.argmax(1) == targets).numpy())


def test_train_in_memory__resumed_gives_the_same_result_as_without_checkpoint(
    tmp_path: Path,
) -> None:
    layer, resumed, features = make_layer(), make_layer(), make_features()
    history = train_in_memory(layer, features, features, SETTINGS)
    start = replace(SETTINGS, epochs=3)
    train_in_memory(make_layer(), features, features, start, Checkpoint(tmp_path, False))
    checkpoint = Checkpoint(tmp_path, resume=True)
    assert train_in_memory(resumed, features, features, SETTINGS, checkpoint) == history
    assert torch.equal(resumed.weight, layer.weight)


class RecordingLayer(nn.Module):
    """A layer on the device `meta`, which has shapes but no numbers, that records its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, device="meta")
        self.devices: list[str] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.devices.append(inputs.device.type)
        logits: torch.Tensor = self.layer(inputs)
        return logits


def test_train_in_memory__batches_are_on_the_device_of_the_model() -> None:
    model, features = RecordingLayer(), make_features()
    # The first step needs numbers; until then everything is on the device.
    with pytest.raises(RuntimeError, match="supported devices"):
        train_in_memory(model, features, features, SETTINGS)
    assert model.devices == ["meta"]


@pytest.mark.parametrize("classes", [2, 5])
def test_to_logistic_regression__has_the_probabilities_of_the_layer(classes: int) -> None:
    layer, features = make_layer(classes), make_features(classes).inputs
    expected = torch.softmax(layer(torch.from_numpy(features)), 1).detach().numpy()
    classifier = to_logistic_regression(layer)
    np.testing.assert_allclose(classifier.predict_proba(features), expected, atol=1e-6)
    assert np.array_equal(classifier.predict(features), expected.argmax(axis=1))
