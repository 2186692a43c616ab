import json
from pathlib import Path

import pytest
import torch

from boats_runtime.errors import RunError
from boats_train.finetune.loop import (
    CHECKPOINT,
    Checkpoint,
    EpochMetrics,
    TrainingLoop,
    format_curves,
)
from support.fine_tuning import make_layer
from support.process import run_module


def run(folder: Path, epochs: int, resume: bool = False, classes: int = 3) -> list[EpochMetrics]:
    """Run epochs whose loss is a random number."""
    state = {"layer": make_layer(classes)}
    loop = TrainingLoop(state, Checkpoint(folder, resume), seed=0)
    return loop.run(epochs, lambda _: {"train_loss": float(torch.rand(1))})


def test_training_loop__resumes_after_the_last_epoch(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 4)
    assert [epoch["epoch"] for epoch in whole] == [1, 2, 3, 4]
    interrupted = run(tmp_path / "work", 2)
    assert run(tmp_path / "work", 4, resume=True) == whole
    assert interrupted == whole[:2]


def test_training_loop__without_resume_empties_the_folder(tmp_path: Path) -> None:
    run(tmp_path, 3)
    (tmp_path / "old").touch()
    assert len(run(tmp_path, 1)) == 1
    assert not (tmp_path / "old").exists()


def test_training_loop__ranks_use_different_random_numbers() -> None:
    loops = [TrainingLoop({}, None, seed=0, rank=rank) for rank in range(2)]
    losses = [
        loop.run(1, lambda _: {"train_loss": float(torch.rand(1))})[0]["train_loss"]
        for loop in loops
    ]
    assert losses[0] != losses[1]


def test_training_loop__loss_is_not_finite(tmp_path: Path) -> None:
    loop = TrainingLoop({}, Checkpoint(tmp_path, resume=False), seed=0)
    with pytest.raises(RunError, match=r"the loss is nan in epoch 1: .* give a lower --lr"):
        loop.run(2, lambda _: {"train_loss": float("nan")})
    assert not (tmp_path / CHECKPOINT).exists()


def test_training_loop__checkpoint_of_another_network(tmp_path: Path) -> None:
    run(tmp_path, 1)
    with pytest.raises(RunError, match="train again without --resume"):
        run(tmp_path, 2, resume=True, classes=4)


class Trap:
    """Object that touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._path,)


def test_training_loop__checkpoint_with_code(tmp_path: Path) -> None:
    torch.save({"state": Trap(tmp_path / "touched"), "history": []}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match="cannot resume from this checkpoint"):
        run(tmp_path, 1, resume=True)
    assert not (tmp_path / "touched").exists()


def test_training_loop__killed_training_ends_like_an_uninterrupted_one(
    dataset_folder: Path, tmp_path: Path
) -> None:
    done = run_module(
        "support.kill_training", dataset_folder, tmp_path,
        env={"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, *[-9] * 20, 0]
    files = {path.name for path in (tmp_path / "interrupted").iterdir()}
    assert files == {"checkpoint.pt", "curves.csv"}
    whole, interrupted = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "interrupted")
    )
    assert interrupted["history"] == whole["history"]
    for name, weight in whole["weights"].items():
        assert torch.equal(interrupted["weights"][name], weight)
    # Two of five epochs were done before the last kill, and none of them is repeated.
    assert (whole["steps"], interrupted["steps"]) == (20, 12)


def test_format_curves__one_row_per_epoch() -> None:
    history = [{"epoch": 1.0, "train_loss": 0.5}, {"epoch": 2.0, "train_loss": 0.25}]
    assert format_curves(history) == "epoch,train_loss\n1.0,0.5\n2.0,0.25\n"
