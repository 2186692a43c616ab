from dataclasses import replace
from pathlib import Path

import pytest

from boats_runtime.errors import UsageError
from boats_train.finetune import planning
from boats_train.finetune.cross_fitting import make_cross_fit_folds
from boats_train.finetune.network_split import SplitError
from boats_train.finetune.planning import (
    count_all_steps,
    estimate_seconds,
    find_obstacle,
    make_settings,
    plan_activations,
)
from boats_train.finetune.trainer import FineTuningData
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.config import TrainConfig
from support.cross_fitting import change, list_images
from support.fine_tuning import PREPROCESSING, make_network

CONFIG = TrainConfig("images", unfreeze="auto")


def plan(
    network: FeatureNetwork, unfrozen: str, images: int, budget: int, patch: pytest.MonkeyPatch
) -> planning.ActivationPlan:
    patch.setattr(planning, "compute_budget", lambda _: budget)
    return plan_activations(network, unfrozen, PREPROCESSING, images, Path("activations"))


@pytest.mark.parametrize(
    ("changes", "images", "obstacle"),
    [
        ({}, 200, None),
        ({}, 199, "199 training images are fewer than 200"),
        ({"weights": "none"}, 200, "the weights are random"),
        ({"from_run": "runs/x"}, 200, "the network of --from may have been trained"),
    ],
)
def test_find_obstacle__says_why(
    changes: dict[str, str], images: int, obstacle: str | None
) -> None:
    found = find_obstacle(replace(CONFIG, **changes), images)  # type: ignore[arg-type]
    assert found is None if obstacle is None else found is not None and found.startswith(obstacle)


def test_make_settings__defaults_and_given_values() -> None:
    settings = make_settings(CONFIG, "9")
    assert (settings.learning_rate, settings.epochs, settings.batch_size) == (5e-4, 12, 32)
    given = replace(CONFIG, learning_rate=1e-3, epochs=5, batch_size=8)
    settings = make_settings(given, "9")
    assert (settings.learning_rate, settings.epochs, settings.batch_size) == (1e-3, 5, 8)


def test_plan_activations__fits_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network()
    size = 8 * 5 * 11 * 2  # of the activation after the second block
    whole = plan(network, "1", 100, 200 * size, monkeypatch)
    assert (whole.split.blocks, whole.layout.orientations) == (1, 2)
    trainable = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert trainable == {"backbone.third.2.weight", "backbone.third.2.bias"}
    assert plan(network, "1", 100, 200 * size - 1, monkeypatch).layout.orientations == 1
    with pytest.raises(SplitError, match=r"activations of each image, .* are more than the 0\.0 "):
        plan(network, "1", 100, 100 * size - 1, monkeypatch)


def test_plan_activations__auto_trains_fewer_blocks_if_they_do_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = make_network()
    monkeypatch.setattr(planning, "choose_blocks", lambda *_: 2)
    assert plan(network, "auto", 100, 10**9, monkeypatch).split.blocks == 2
    smaller = plan(network, "auto", 100, 100 * 8 * 5 * 11 * 2, monkeypatch)
    assert (smaller.split.blocks, smaller.layout.orientations) == (1, 1)


def test_plan_activations__more_blocks_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--unfreeze 4: this backbone has blocks 1 to 3"):
        plan(make_network(), "4", 100, 10**9, monkeypatch)


def test_estimate_seconds__counts_all_steps(
    data: FineTuningData, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, settings = list_images(data), change(epochs=6)
    folds = make_cross_fit_folds(images, None, 0)
    sizes = [sum(folds.assignment[:13] != fold) for fold in range(3)]
    steps = sum(2 * -(-size // 4) for size in sizes) + 6 * 4
    assert count_all_steps(images, folds, settings) == steps
    monkeypatch.setattr(planning, "time_idle", lambda _: 0.5)
    monkeypatch.setattr(planning.ActivationTrainer, "time_step", lambda _: 2.0)
    network = make_network()
    activation_plan = plan(network, "1", 20, 10**9, monkeypatch)
    seconds = estimate_seconds(network, activation_plan, PREPROCESSING, images, folds, settings)
    assert seconds == 2.0 * steps + 0.5 * 20 * 5
