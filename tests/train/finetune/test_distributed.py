"""Two processes that `torchrun` starts run `SCRIPT` once; the tests look at what it left."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from boats_runtime.errors import UsageError
from boats_train.finetune import distributed as distributed_module
from boats_train.finetune.distributed import DistributedContext, join_distributed

SCRIPT = """
import json, shutil, sys, time
from pathlib import Path

import torch

from boats_runtime.errors import BoatsError
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.backbone import build_backbone
from boats_data.dataset import LabeledImages, scan_dataset
from boats_train.finetune.distributed import DistributedContext, join_distributed
from boats_train.finetune.recipe import fine_tune
from boats_train.finetune.trainer import Photos, Recipe
from boats_train.models.feature_network import FeatureNetwork
from boats_train.finetune.sampling import keep_readable

torch.set_num_threads(1)
data, out, size = Path(sys.argv[1]), Path(sys.argv[2]), Preprocessing(48, 96)

def tune(distributed, folder, rate=1e-4, batch=4, epochs=3, resume=False):
    dataset = scan_dataset(data)
    kept = [keep_readable(dataset.splits[name], size, distributed) for name in ("train", "valid")]
    torch.manual_seed(0)
    network = FeatureNetwork(build_backbone("shufflenet_v2_x0_5"), size)
    layer, rows = fine_tune(
        network, Photos(*kept, dataset.classes, size), Recipe("3", rate, epochs, batch, 0),
        folder=folder, resume=resume, distributed=distributed, log=print,
    )
    return {"kept": len(kept[0].paths), "rows": rows}, [network.state_dict(), layer.state_dict()]

def refused(*arguments, **options):
    try:
        tune(*arguments, **options)
    except BoatsError as error:
        return str(error)

with join_distributed() as distributed:
    facts = {
        "count": distributed.world_size,
        "sum": distributed.all_reduce_sum(torch.tensor([distributed.rank + 1.0])).item(),
        "agree": distributed.all_equal(7),
        "disagree": distributed.all_equal(distributed.rank),
    }
    with distributed.rank_zero_first():
        facts["second"] = (out / "first").exists()
        if distributed.is_main:
            time.sleep(0.2)
            (out / "first").touch()

with join_distributed() as distributed:  # a second time
    learned, states = tune(distributed, out / "work")
    facts |= learned
    torch.save(states, out / f"rank{distributed.rank}.pt")
    facts["nan"] = refused(distributed, out / "nan", rate=1e30, epochs=1)
    facts["uneven"] = refused(distributed, out / "uneven", batch=5)
    own = out / f"own{distributed.rank}"
    if distributed.is_main:
        shutil.copytree(out / "work", own)
    facts["apart"] = refused(distributed, own, resume=True)
if distributed.is_main:
    facts["alone"], states = tune(DistributedContext(), out / "alone")
    torch.save(states, out / "alone.pt")
(out / f"rank{distributed.rank}.json").write_text(json.dumps(facts))
"""


@dataclass(frozen=True)
class Left:
    """What the processes left.

    Attributes:
        facts: Of each rank.
        states: The weights of network and layer: of each rank, then of a process by itself.
        folder: Where all of it is.
        output: What was printed.
    """

    facts: list[dict[str, Any]]
    states: list[list[dict[str, torch.Tensor]]]
    folder: Path
    output: str


@pytest.fixture(scope="module")
def left(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Left:
    out = tmp_path_factory.mktemp("two")
    script = out / "script.py"
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launch, script, dataset_folder, out],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    facts = [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(2)]
    states = [
        torch.load(out / f"{name}.pt", weights_only=True) for name in ("rank0", "rank1", "alone")
    ]
    return Left(facts, states, out, done.stdout + done.stderr)


def test_join_ranks__alone() -> None:
    with join_distributed() as distributed:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        assert distributed == DistributedContext(0, 1, torch.device(device))
        assert distributed.is_main


def test_join_ranks__more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_there = distributed_module.distributed
    monkeypatch.setattr(torch_there, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="give --nproc-per-node=2"), join_distributed():
        pass


def test_ranks__alone_change_nothing() -> None:
    distributed = DistributedContext()
    values, model = torch.ones(2), nn.Linear(1, 1)
    assert distributed.all_reduce_sum(values) is values
    assert distributed.wrap(model) is model
    assert distributed.all_equal(3)
    with distributed.rank_zero_first():
        pass


def test_ranks__two_add_and_agree(left: Left) -> None:
    for facts in left.facts:
        assert facts["count"] == 2
        assert facts["sum"] == 3
        assert facts["agree"]
        assert not facts["disagree"]


def test_ranks__main_is_first(left: Left) -> None:
    assert [facts["second"] for facts in left.facts] == [False, True]


def test_fine_tune__two_processes_end_with_the_same_weights(left: Left) -> None:
    first, second, _ = left.states
    for mine, other in zip(first, second, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert left.facts[0]["rows"] == left.facts[1]["rows"]
    assert left.facts[0]["kept"] == left.facts[1]["kept"] == 13


def test_fine_tune__two_processes_learn_what_one_does(left: Left) -> None:
    rows = left.facts[0]["alone"]["rows"]
    for row, expected in zip(left.facts[0]["rows"], rows, strict=True):
        assert row == pytest.approx(expected, abs=1e-3)
    for state, expected in zip(left.states[0], left.states[2], strict=True):
        assert max((state[name] - expected[name]).abs().max() for name in state) < 1e-4


def test_fine_tune__two_processes_lower_the_loss(left: Left) -> None:
    losses = [row["train_loss"] for row in left.facts[0]["rows"]]
    assert losses[-1] < losses[0]


def test_fine_tune__only_rank_0_writes_and_prints(left: Left) -> None:
    work = left.folder / "work"
    assert sorted(path.name for path in work.iterdir()) == ["checkpoint.pt", "curves.csv", "events"]
    assert len(list((work / "events").iterdir())) == 1
    assert not (left.folder / "own1").exists()
    printed = left.output.count("valid macro-F1")
    assert printed == 3 + 1 + 3  # together, with a loss that is no number, and alone


def test_fine_tune__every_process_stops_with_the_message(left: Left) -> None:
    for facts in left.facts:
        assert "give a lower --lr" in facts["nan"]
        assert "--batch-size 5: the 2 processes share it" in facts["uneven"]
        assert "not every process finds the same checkpoint" in facts["apart"]
