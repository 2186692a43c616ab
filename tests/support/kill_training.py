"""Kill a training at several points, resume it after each kill, and let it finish.

Usage: python kill_training.py DATASET OUT

This is done for a linear head and for fine-tuning. In OUT/head and OUT/fine_tune, interrupted.pt
has the weights, the history and the number of optimizer steps of the last child process, whole.pt
those of a training that was never killed. The exit codes of the processes are printed as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from boats_train.finetune import sampling
from boats_train.finetune.linear_head import HeadSettings, train_in_memory
from boats_train.finetune.loop import Checkpoint
from boats_train.finetune.trainer import FineTuningSettings
from support.fine_tuning import fine_tune_small, load_data, make_features, make_layer

EPOCHS = 5

KILLS = (
    ("step", 2),  # in the first epoch
    ("write", 1),  # before the first curves.csv is complete
    ("write", 2),  # before the first checkpoint is complete
    ("write", 4),  # before the second checkpoint is complete
    ("step", 6),  # in the third epoch: the second is repeated first
)
"""Events at which a child process kills itself, counted from 1: optimizer steps, file writes."""


class Killer:
    """Count events and kill this process at one of them."""

    def __init__(self, kill: tuple[str, int] | None) -> None:
        self.counts = {"step": 0, "write": 0}
        self._kill = kill

    def count(self, event: str) -> None:
        """Count an event."""
        self.counts[event] += 1
        if self._kill == (event, self.counts[event]):
            os.kill(os.getpid(), signal.SIGKILL)


def train(kind: str, dataset: Path, folder: Path) -> dict[str, Any]:
    """Train a linear head, or fine-tune a network, and return its weights and history."""
    checkpoint = Checkpoint(folder, resume=True)
    if kind == "head":
        layer, settings = make_layer(), HeadSettings(1e-2, EPOCHS, 16, 5)
        history = train_in_memory(
            layer, make_features(), make_features(seed=1), settings, checkpoint
        )
        return {"history": history, "weights": layer.state_dict()}
    network, layer, history = fine_tune_small(
        load_data(dataset), FineTuningSettings(1e-3, EPOCHS, 4, 0, "all"), checkpoint
    )
    return {"history": history, "weights": nn.Sequential(network, layer).state_dict()}


def run_child(
    kind: str, dataset: Path, out: Path, name: str, kill: tuple[str, int] | None = None
) -> int:
    """Train in a child process and return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            killer = Killer(kill)
            os.fsync = lambda _: killer.count("write")
            register_optimizer_step_post_hook(lambda *_: killer.count("step"))
            result = train(kind, dataset, out / name)
            torch.save(result | {"steps": killer.counts["step"]}, out / f"{name}.pt")
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Run the child processes."""
    dataset = Path(sys.argv[1])
    torch.set_num_threads(1)
    sampling.granted_cpus = lambda: 0  # no workers, which would outlive a killed process
    codes = {}
    for kind in ("head", "fine_tune"):
        out = Path(sys.argv[2]) / kind
        out.mkdir()
        codes[kind] = [
            run_child(kind, dataset, out, "whole"),
            *(run_child(kind, dataset, out, "interrupted", kill) for kill in KILLS),
            run_child(kind, dataset, out, "interrupted"),
        ]
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
