import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from boats_data.dataset import LabeledImages, scan_dataset
from boats_runtime.errors import DataError, RunError, UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune import recipe as finetune_module
from boats_train.finetune import trainer as learner_module
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.loop import CHECKPOINT, CURVES, EVENTS, Row
from boats_train.finetune.recipe import fine_tune
from boats_train.finetune.sampling import keep_readable
from boats_train.finetune.trainer import Learner, Photos, Recipe, schedule
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork

SIZE = Preprocessing(48, 96)
RECIPE = Recipe(unfreeze="all", learning_rate=1e-3, epochs=3, batch_size=4, seed=0)
LAST = Recipe(unfreeze="2", learning_rate=1e-4, epochs=2, batch_size=4, seed=0)

Trained = tuple[FeatureNetwork, nn.Linear, list[Row]]
Train = Callable[..., Trained]


class Tiny(nn.Module):
    """Three blocks, the second with a BatchNorm and the last with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, stride=4)
        self.second = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2))
        self.third = nn.Sequential(nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 12, 3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = self.third(self.second(self.first(image))).mean(dim=(2, 3))
        return values


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> object:
    """Small networks are quicker so, and sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def photos(dataset_folder: Path) -> Photos:
    dataset = scan_dataset(dataset_folder)
    return Photos(dataset.splits["train"], dataset.splits["valid"], dataset.classes, SIZE)


@pytest.fixture
def train(photos: Photos, tmp_path: Path) -> Train:
    """Fine-tunes a tiny network that is the same each time."""

    def run(
        recipe: Recipe = RECIPE,
        *,
        name: str = "work",
        resume: bool = False,
        log: Callable[[str], None] = lambda _: None,
    ) -> Trained:
        network = tiny()
        layer, rows = fine_tune(
            network, photos, recipe,
            folder=tmp_path / name, resume=resume, distributed=DistributedContext(), log=log,
        )  # fmt: skip
        return network, layer, rows

    return run


class Measured:
    """What a learner measures, with a macro-F1 of choice."""

    def __init__(self, macro_f1: float) -> None:
        self.accuracy = self.macro_f1 = macro_f1


def tiny() -> FeatureNetwork:
    torch.manual_seed(0)
    return FeatureNetwork(Tiny(), SIZE)


def assert_same(trained: Trained, expected: Trained) -> None:
    """Compares weights bit by bit, and the curves."""
    for module, other in zip(trained[:2], expected[:2], strict=True):
        states = module.state_dict(), other.state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert trained[2] == expected[2]


def test_schedule__rises_then_falls_to_zero() -> None:
    factors = [schedule(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert factors[10] == 1
    assert all(np.diff(factors[10:]) < 0)
    assert factors[55] == pytest.approx(0.5)
    assert 0 < factors[99] < 1e-3


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_schedule__few_steps(steps: int) -> None:
    assert all(0 < schedule(step, steps) <= 1 for step in range(steps))


@pytest.mark.parametrize("unfreeze", ["all", "2"])
def test_fine_tune__learns(unfreeze: str, photos: Photos, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FeatureNetwork(build_backbone("squeezenet1_1"), SIZE)
    lines: list[str] = []
    layer, rows = fine_tune(
        network, photos, Recipe(unfreeze, 3e-4, 4, 4, 0),
        folder=tmp_path / "work", resume=False, distributed=DistributedContext(), log=lines.append,
    )  # fmt: skip
    assert layer.weight.shape == (3, 512)
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"]
    assert list(rows[0]) == [
        "epoch", "train_loss", "train_accuracy", "rate", "valid_loss", "valid_accuracy",
        "valid_macro_f1",
    ]  # fmt: skip
    what = {"all": "all", "2": "last 2"}[unfreeze]
    assert lines[0].startswith(f"fine-tuning the backbone's blocks ({what}): ")
    assert lines[0].endswith(" weights, 13 photos, 4 steps an epoch of 4 photos, 1 x cpu")
    assert [line.split(":")[0] for line in lines[1:]] == [f"epoch {n}" for n in range(1, 5)]
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == sorted(
        [CHECKPOINT, CURVES, EVENTS]
    )


def test_fine_tune__learns_with_normalised_features(train: Train) -> None:
    rows = train(Recipe("all", 1e-3, 6, 4, 0))[2]
    assert rows[-1]["train_loss"] < 0.95 * rows[0]["train_loss"]
    assert rows[-1]["valid_loss"] < rows[0]["valid_loss"]


def test_fine_tune__same_seed_same_result(train: Train) -> None:
    assert_same(train(name="one"), train(name="two"))


def test_fine_tune__another_seed_another_result(train: Train) -> None:
    other = Recipe("all", 1e-3, 3, 4, seed=1)
    assert train(name="one")[2] != train(other, name="two")[2]


def test_fine_tune__the_network_is_as_before_but_for_its_weights(train: Train) -> None:
    network, layer, _ = train(LAST)
    assert not any(module.training for module in (*network.modules(), layer))
    assert all(weight.requires_grad for weight in network.parameters())
    assert all(weight.is_contiguous() for weight in network.parameters())
    assert list(network.state_dict()) == list(tiny().state_dict())


def test_fine_tune__only_the_last_blocks_change(train: Train) -> None:
    network, *_ = train(LAST)
    before, after = tiny().state_dict(), network.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    weights = {name for name in changed if name.endswith(("weight", "bias"))}
    # Two blocks: the convolutions behind the BatchNorm, which belongs to the first one.
    assert weights == {
        f"backbone.{name}"
        for name in ("second.2.weight", "second.2.bias", "third.2.weight", "third.2.bias")
    }


def test_fine_tune__statistics_of_trained_weights_stay(photos: Photos, tmp_path: Path) -> None:
    network = tiny()
    norm = network.get_submodule("backbone.second.0")
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.constant_(norm.bias, 0.1)  # a trained one
    before = {name: value.clone() for name, value in norm.named_buffers()}
    fine_tune(
        network, photos, RECIPE,
        folder=tmp_path / "work", resume=False, distributed=DistributedContext(), log=lambda _: None,  # noqa: E501
    )  # fmt: skip
    assert all(torch.equal(before[name], value) for name, value in norm.named_buffers())
    assert not torch.equal(norm.bias, torch.full((6,), 0.1))  # but its bias learns


def test_learner__random_weights_get_statistics(photos: Photos) -> None:
    network = tiny()
    Learner(network, photos, RECIPE, DistributedContext())
    norm = network.get_submodule("backbone.second.0")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_mean.abs().min() > 0
    assert norm.momentum == 0.1
    assert not norm.training


def test_learner__biases_do_not_decay_and_the_layer_learns_faster(photos: Photos) -> None:
    learner = Learner(tiny(), photos, LAST, DistributedContext())
    groups = learner.parts["optimizer"].state_dict()["param_groups"]
    assert [(group["weight_decay"] > 0, group["speed"]) for group in groups] == [
        (True, 1.0), (False, 1.0), (True, 10.0), (False, 10.0),
    ]  # fmt: skip
    assert [len(group["params"]) for group in groups] == [2, 2, 1, 1]


def test_fine_tune__measures_the_moving_average(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slower average stays nearer to the first step's weights.
    average = learner_module.get_ema_multi_avg_fn
    quick = train(name="quick")[0]
    monkeypatch.setattr(learner_module, "get_ema_multi_avg_fn", lambda _: average(0.9999))
    slow = train(name="slow")[0]
    start = tiny().state_dict()["backbone.third.2.weight"]
    moved = [
        (network.state_dict()["backbone.third.2.weight"] - start).norm()
        for network in (quick, slow)
    ]
    assert moved[1] < 0.7 * moved[0]


def test_fine_tune__keeps_the_best_epoch(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.2, 0.9, 0.1, 0.9])
    kept: list[torch.Tensor] = []

    def measure(learner: Learner) -> tuple[object, float]:
        kept.append(learner.parts["averaged"].state_dict()["module.1.weight"].clone())
        return Measured(next(scores)), 1.0

    monkeypatch.setattr(Learner, "measure", measure)
    lines: list[str] = []
    _, layer, rows = train(Recipe("all", 1e-3, 4, 4, 0), log=lines.append)
    assert [row["valid_macro_f1"] for row in rows] == [0.2, 0.9, 0.1, 0.9]
    assert [torch.equal(layer.weight, weight) for weight in kept] == [False, True, False, False]
    assert [line.endswith("the best so far") for line in lines[1:]] == [True, True, False, False]


def test_fine_tune__stops_early_and_stays_stopped(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune_module, "PATIENCE", 2)
    scores = iter([0.2, 0.5, 0.5, 0.4])
    monkeypatch.setattr(Learner, "measure", lambda _: (Measured(next(scores)), 1.0))
    stopped = train(Recipe("all", 1e-3, 20, 4, 0))
    assert len(stopped[2]) == 4
    assert_same(train(Recipe("all", 1e-3, 20, 4, 0), resume=True), stopped)


def test_fine_tune__stopped_by_hand_and_resumed_is_the_same(train: Train) -> None:
    recipe = Recipe("all", 1e-3, 5, 4, 0)
    whole = train(recipe, name="whole")

    def interrupt(line: str) -> None:
        if line.startswith("epoch 3:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, log=interrupt)
    lines: list[str] = []
    assert_same(train(recipe, resume=True, log=lines.append), whole)
    assert lines[1].startswith("epoch 3:")
    assert_same(train(recipe, resume=True), whole)  # nothing is left to do


def test_fine_tune__without_resume_starts_anew(train: Train) -> None:
    train(Recipe("all", 1e-3, 1, 4, 0))
    lines: list[str] = []
    train(Recipe("all", 1e-3, 1, 4, 0), log=lines.append)
    assert lines[1].startswith("epoch 1:")


def test_fine_tune__checkpoint_of_another_network(train: Train, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    torch.save({"rows": [], "parts": {}}, tmp_path / "work" / CHECKPOINT)
    with pytest.raises(RunError, match="train again without --resume"):
        train(resume=True)


def test_fine_tune__loss_is_no_number(train: Train, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the loss is nan in epoch 1: .* give a lower --lr"):
        train(Recipe("all", 1e30, 2, 4, 0))
    assert not (tmp_path / "work" / CHECKPOINT).exists()


def test_fine_tune__too_many_blocks(train: Train) -> None:
    with pytest.raises(UsageError, match=r"--unfreeze 4: .* 1 to 3, or all"):
        train(Recipe("4", 1e-3, 1, 4, 0))


def test_fine_tune__batch_cannot_be_shared(photos: Photos) -> None:
    with pytest.raises(UsageError, match=r"--batch-size 5: .* give a multiple of 2"):
        Learner(tiny(), photos, Recipe("all", 1e-3, 1, 5, 0), DistributedContext(0, 2))


def test_fine_tune__more_photos_a_step_than_there_are(train: Train) -> None:
    rows = train(Recipe("all", 1e-3, 1, 32, 0))[2]
    assert math.isfinite(rows[0]["train_loss"])


def test_fine_tune__corrupt_photos(photos: Photos, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos.train.paths[0].read_bytes()[:300])
    split = LabeledImages((broken, *photos.train.paths), np.concatenate([[0], photos.train.targets]))

    def run(train: LabeledImages) -> None:
        fine_tune(
            tiny(), Photos(train, photos.valid, photos.classes, SIZE), LAST,
            folder=tmp_path / "work", resume=False, distributed=DistributedContext(), log=lambda _: None,  # noqa: E501
        )  # fmt: skip

    with pytest.raises(DataError, match=r"broken\.jpg: could be read at first"):
        run(split)
    run(keep_readable(split, SIZE, DistributedContext()))


# A process that imports everything once and forks one child for each training that is killed.
KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path

import torch
from torch import nn

from boats_runtime.preprocessing import Preprocessing
from boats_data.dataset import scan_dataset
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.recipe import fine_tune
from boats_train.finetune.trainer import Photos, Recipe
from boats_train.models.feature_network import FeatureNetwork

torch.set_num_threads(1)
data, out, size = Path(sys.argv[1]), Path(sys.argv[2]), Preprocessing(48, 96)

def train(name, kill_at_write):
    if kill_at_write:
        writes = []
        def fsync(_):
            writes.append(1)
            if len(writes) == kill_at_write:
                os.kill(os.getpid(), signal.SIGKILL)
        os.fsync = fsync
    dataset = scan_dataset(data)
    photos = Photos(dataset.splits["train"], dataset.splits["valid"], dataset.classes, size)
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1),
        nn.Conv2d(8, 16, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )
    network = FeatureNetwork(backbone, size)
    with (out / f"{name}.log").open("a") as log:
        def write(line):
            print(line, file=log, flush=True)
        layer, rows = fine_tune(
            network, photos, Recipe("all", 1e-3, 12, 4, 0),
            folder=out / name, resume=True, distributed=DistributedContext(), log=write,
        )
    state = {"rows": rows, "network": network.state_dict(), "layer": layer.state_dict()}
    torch.save(state, out / f"{name}.pt")

def start(name, delay=None, kill_at_write=0):
    child = os.fork()
    if not child:
        try:
            train(name, kill_at_write)
            os._exit(0)
        finally:
            os._exit(1)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

begun = time.monotonic()
ends = [start("whole")]
took = time.monotonic() - begun
for kill_at_write in (1, 2, 4):  # curves.csv, then the checkpoint, then a later one
    ends.append(start("cut", kill_at_write=kill_at_write))
for _ in range(4):
    ends.append(start("cut", delay=random.uniform(0.1, 0.35) * took))
ends.append(start("cut"))
print(json.dumps(ends))
"""


def test_fine_tune__killed_and_resumed_is_the_same(dataset_folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, dataset_folder, tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    assert ends[0] == ends[-1] == 0
    assert set(ends) <= {0, -9}
    assert ends[1:4] == [-9] * 3
    assert -9 in ends[4:-1]
    cut, whole = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("cut", "whole")
    )
    assert cut["rows"] == whole["rows"]
    for part in ("network", "layer"):
        assert all(torch.equal(cut[part][name], whole[part][name]) for name in whole[part])
    # Each start goes on with the epoch after the last one finished, or repeats that one.
    lines = (tmp_path / "cut.log").read_text().splitlines()
    epochs = [int(line.split()[1][:-1]) for line in lines if line.startswith("epoch ")]
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(epochs))
    assert epochs[-1] == 12
