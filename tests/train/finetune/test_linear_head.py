import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from boats_runtime.errors import RunError
from boats_train.finetune.linear_head import ArrayDataset, to_logistic_regression, train_in_memory
from boats_train.finetune.loop import CHECKPOINT, CURVES, EVENTS

SETTING = {"rate": 1e-2, "epochs": 8, "batch": 16, "seed": 5}


def labelled(classes: int = 3, photos: int = 60, seed: int = 0) -> ArrayDataset:
    rng = np.random.default_rng(seed)
    targets = np.arange(photos) % classes
    features = rng.normal(0, 1, (photos, 4)).astype(np.float32)
    features[:, 0] += targets
    return ArrayDataset(features, targets)


def layer(classes: int = 3) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(4, classes)


def test_fit_adam__learns_and_records_every_epoch(tmp_path: Path) -> None:
    model = layer()
    rows = train_in_memory(
        model, labelled(), labelled(seed=1), folder=tmp_path, resume=False, **SETTING
    )
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert not model.training
    lines = (tmp_path / CURVES).read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy"
    assert len(lines) == 9
    assert list((tmp_path / EVENTS).iterdir())


def test_fit_adam__the_recorded_numbers_are_the_models(tmp_path: Path) -> None:
    model = layer()
    valid = labelled(seed=1)
    rows = train_in_memory(model, labelled(), valid, folder=tmp_path, resume=False, **SETTING)
    logits = model(torch.from_numpy(valid.inputs)).detach()
    targets = torch.from_numpy(valid.targets)
    assert rows[-1]["valid_loss"] == pytest.approx(
        float(nn.functional.cross_entropy(logits, targets)), rel=1e-5
    )
    assert rows[-1]["valid_accuracy"] == np.mean((logits.argmax(1) == targets).numpy())


def test_fit_adam__the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    models = [layer(), layer()]
    for number, model in enumerate(models):
        folder = tmp_path / str(number)
        train_in_memory(model, labelled(), labelled(), folder=folder, resume=False, **SETTING)
    assert torch.equal(models[0].weight, models[1].weight)


def test_fit_adam__a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    setting = SETTING | {"rate": 3e37}
    with pytest.raises(RunError, match="give a lower --lr"):
        train_in_memory(layer(), labelled(), labelled(), folder=tmp_path, resume=False, **setting)


def test_fit_adam__a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    train_in_memory(layer(), labelled(), labelled(), folder=tmp_path, resume=False, **SETTING)
    with pytest.raises(RunError, match="without --resume"):
        train_in_memory(layer(4), labelled(4), labelled(4), folder=tmp_path, resume=True, **SETTING)


def test_fit_adam__a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"parts": Trap(), "rows": []}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match="can't go on from it"):
        train_in_memory(layer(), labelled(), labelled(), folder=tmp_path, resume=True, **SETTING)
    assert not (tmp_path / "sprung").exists()


def test_fit_adam__without_resume_starts_afresh(tmp_path: Path) -> None:
    first = train_in_memory(
        layer(), labelled(), labelled(), folder=tmp_path, resume=False, **SETTING
    )
    again = train_in_memory(
        layer(), labelled(), labelled(), folder=tmp_path, resume=False, **SETTING
    )
    assert first == again


KILLED = """
import os, random, signal, sys, time, torch
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_adam import SETTING, labelled, layer
from boats_train.finetune import linear_head as adam

torch.set_num_threads(1)

def slow(model, data, batch, measure=adam._measure):
    time.sleep(0.03)
    return measure(model, data, batch)

adam._measure = slow

def train(done):
    model = layer()
    rows = adam.train_in_memory(
        model, labelled(), labelled(seed=1), folder=Path(sys.argv[1]), resume=True, **SETTING
    )
    torch.save([model.state_dict(), rows], done)

delays, kills = random.Random(7), 0
while not Path(sys.argv[3]).exists():
    child = os.fork()  # with everything imported: a new interpreter would take seconds
    if child == 0:
        train(sys.argv[3])
        os._exit(0)
    if kills < 10:
        time.sleep(delays.uniform(0.02, 0.25))
        os.kill(child, signal.SIGKILL)
        kills += 1
    os.waitpid(child, 0)
print(kills)
"""


def test_fit_adam__killed_ten_times_ends_as_if_undisturbed(tmp_path: Path) -> None:
    model = layer()
    rows = train_in_memory(
        model, labelled(), labelled(seed=1), folder=tmp_path / "whole", resume=False, **SETTING
    )
    done = tmp_path / "done.pt"
    arguments = [str(tmp_path / "torn"), str(Path(__file__).parent), str(done)]
    driver = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert int(driver.stdout) >= 5
    state, resumed = torch.load(done, weights_only=True)
    assert resumed == rows
    assert torch.equal(state["weight"], model.weight)


@pytest.mark.parametrize("classes", [2, 5])
def test_as_classifier__gives_the_layers_probabilities(classes: int) -> None:
    model = layer(classes)
    features = labelled(classes).inputs
    expected = torch.softmax(model(torch.from_numpy(features)), 1).detach().numpy()
    classifier = to_logistic_regression(model)
    np.testing.assert_allclose(classifier.predict_proba(features), expected, atol=1e-6)
    assert np.array_equal(classifier.predict(features), expected.argmax(axis=1))
