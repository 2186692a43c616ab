from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from boats_train.finetune.linear_head import HeadSettings, to_logistic_regression, train_in_memory
from boats_train.finetune.loop import CURVES, Checkpoint
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
    lines = (tmp_path / CURVES).read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy"
    assert len(lines) == 9


def test_train_in_memory__evaluates_the_validation_set() -> None:
    layer, valid = make_layer(), make_features(seed=1)
    last = train_in_memory(layer, make_features(), valid, SETTINGS)[-1]
    logits = layer(torch.from_numpy(valid.inputs)).detach()
    targets = torch.from_numpy(valid.targets)
    assert last["valid_loss"] == pytest.approx(float(cross_entropy(logits, targets)), rel=1e-5)
    assert last["valid_accuracy"] == np.mean((logits.argmax(1) == targets).numpy())


def test_train_in_memory__without_checkpoint_gives_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layers = [make_layer(), make_layer()]
    for layer, checkpoint in zip(layers, (None, Checkpoint(Path("work"), False)), strict=True):
        train_in_memory(layer, make_features(), make_features(), SETTINGS, checkpoint)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


@pytest.mark.parametrize("classes", [2, 5])
def test_to_logistic_regression__has_the_probabilities_of_the_layer(classes: int) -> None:
    layer, features = make_layer(classes), make_features(classes).inputs
    expected = torch.softmax(layer(torch.from_numpy(features)), 1).detach().numpy()
    classifier = to_logistic_regression(layer)
    np.testing.assert_allclose(classifier.predict_proba(features), expected, atol=1e-6)
    assert np.array_equal(classifier.predict(features), expected.argmax(axis=1))
