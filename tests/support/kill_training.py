"""Kill a fine-tuning at several points, resume it after each kill, and let it finish.

Usage: python kill_training.py DATASET OUT

OUT/interrupted.pt has the weights, the history and the number of optimizer steps of the last child
process, OUT/whole.pt those of a training that was never killed. The exit codes of the processes are
printed as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from boats_train.finetune import sampling
from boats_train.finetune.loop import Checkpoint
from support.fine_tuning import fine_tune_small, load_data

KILLS = (
    # Before the first checkpoint, so that the training starts again each time.
    *(("step", number) for number in (1, 2, 3, 4)),
    *(("write", number) for number in (1, 2)),
    *(("step", number) for number in (4, 3, 2, 1)),
    *(("write", number) for number in (2, 1, 2, 1, 2)),
    ("step", 2),  # in the first epoch
    ("write", 1),  # before the first curves.csv is complete
    ("write", 2),  # before the first checkpoint is complete
    ("write", 4),  # before the second checkpoint is complete
    ("step", 6),  # in the third epoch: the second is repeated first
)
"""Events at which a child process kills itself, counted from 1: optimizer steps, file writes."""


def train(name: str, kill: tuple[str, int] | None) -> None:
    """Train, or resume the training, and write the result; die at an event."""
    counts = {"step": 0, "write": 0}

    def count(event: str) -> None:
        counts[event] += 1
        if kill == (event, counts[event]):
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = lambda _: count("write")
    register_optimizer_step_post_hook(lambda *_: count("step"))
    dataset, out = map(Path, sys.argv[1:])
    checkpoint = Checkpoint(out / name, resume=True)
    network, layer, history = fine_tune_small(load_data(dataset), checkpoint, epochs=5)
    weights = nn.Sequential(network, layer).state_dict()
    result = {"history": history, "weights": weights, "steps": counts["step"]}
    torch.save(result, out / f"{name}.pt")


def run_child(name: str, kill: tuple[str, int] | None = None) -> int:
    """Train in a child process and return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            train(name, kill)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sampling.granted_cpus = lambda: 0  # no workers, which would outlive a killed process
    interrupted = [run_child("interrupted", kill) for kill in (*KILLS, None)]
    print(json.dumps([run_child("whole"), *interrupted]))
