"""Two processes started by torchrun run `support.distributed_training` once for all tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from boats_runtime.errors import UsageError
from boats_train.finetune import distributed as distributed_module
from boats_train.finetune.distributed import DistributedContext, join_distributed
from support.process import TESTS, run_command


@dataclass(frozen=True)
class Results:
    """Observations of each rank, weights of each rank and of a single process, folder, output."""

    facts: list[dict[str, Any]]
    weights: list[dict[str, torch.Tensor]]
    folder: Path
    output: str


@pytest.fixture(scope="module")
def results(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("distributed")
    script = TESTS / "support" / "distributed_training.py"
    done = run_command(
        "torchrun", "--standalone", "--nproc-per-node=2", script, dataset_folder, folder,
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(TESTS)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]
    weights = [
        torch.load(folder / f"{name}.pt", weights_only=True) for name in ("rank0", "rank1", "alone")
    ]
    return Results(facts, weights, folder, done.stdout + done.stderr)


def test_join_distributed__without_torchrun() -> None:
    with join_distributed() as distributed:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        assert distributed == DistributedContext(0, 1, torch.device(device))
        assert distributed.is_main


def test_join_distributed__more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed_module.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="give --nproc-per-node=2"), join_distributed():
        pass


def test_distributed_context__single_process() -> None:
    distributed = DistributedContext()
    values, model = torch.ones(2), nn.Linear(1, 1)
    assert distributed.all_reduce_sum(values) is values
    assert distributed.wrap(model) is model
    assert distributed.all_equal(3)


@pytest.mark.parametrize(("rank", "order"), [(0, ["block", "barrier"]), (1, ["barrier", "block"])])
def test_rank_zero_first__order(
    rank: int, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(DistributedContext, "barrier", lambda _: calls.append("barrier"))
    with DistributedContext(rank, 2).rank_zero_first():
        calls.append("block")
    assert calls == order


def test_distributed_context__two_processes(results: Results) -> None:
    for facts in results.facts:
        assert facts["sum"] == 3
        assert facts["equal"]
        assert not facts["unequal"]
    assert [facts["rank_zero_was_here"] for facts in results.facts] == [False, True]


def test_fine_tune__processes_have_the_same_weights(results: Results) -> None:
    first, second, _ = results.weights
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert results.facts[0]["history"] == results.facts[1]["history"]
    assert results.facts[0]["images"] == results.facts[1]["images"] == 13


def test_fine_tune__two_processes_train_like_one(results: Results) -> None:
    pairs = zip(results.facts[0]["history"], results.facts[0]["alone"]["history"], strict=True)
    assert all(epoch == pytest.approx(expected, abs=1e-4) for epoch, expected in pairs)
    weights, _, expected = results.weights
    assert all((weights[name] - expected[name]).abs().max() < 1e-5 for name in weights)


def test_fine_tune__only_rank_zero_writes_and_prints(results: Results) -> None:
    assert {path.name for path in (results.folder / "work").iterdir()} == {
        "checkpoint.pt", "curves.csv",
    }  # fmt: skip
    assert not (results.folder / "local1").exists()
    # Three epochs in two processes, one that diverges, three in one process.
    assert results.output.count("valid macro-F1") == 3 + 1 + 3


def test_fine_tune__all_processes_raise_the_error(results: Results) -> None:
    for facts in results.facts:
        assert "give a lower --lr" in facts["diverged"]
        assert "the processes read different checkpoints" in facts["different"]
