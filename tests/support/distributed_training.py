"""Fine-tune a network in the processes that torchrun starts, and then in rank 0 alone.

Usage: torchrun distributed_training.py DATASET OUT

Each process writes its weights to OUT/rank<N>.pt and what it observed to OUT/rank<N>.json; rank 0
also writes the weights of the training alone to OUT/alone.pt.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from boats_runtime.errors import BoatsError
from boats_train.finetune.distributed import DistributedContext, join_distributed
from boats_train.finetune.loop import Checkpoint
from boats_train.finetune.sampling import keep_readable
from support.fine_tuning import PREPROCESSING, fine_tune_small, load_data, make_network


def train(
    distributed: DistributedContext, folder: Path, resume: bool = False, **settings: Any
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the number of images with the history, and the weights.

    There is no dropout, whose random numbers depend on the number of processes.
    """
    data = load_data(Path(sys.argv[1]))
    data = replace(data, train=keep_readable(data.train, PREPROCESSING, distributed))
    network, layer, history = fine_tune_small(
        data, Checkpoint(folder, resume), make_network(dropout=0.0), distributed, print, **settings
    )
    facts = {"images": len(data.train.paths), "history": history}
    return facts, nn.Sequential(network, layer).state_dict()


def catch_error(*arguments: Any, **options: Any) -> str:
    """Return the message of the error that a training raises."""
    try:
        train(*arguments, **options)
    except BoatsError as error:
        return str(error)
    return "no error"


def main() -> None:
    """Train and write the results."""
    out = Path(sys.argv[2])
    torch.set_num_threads(1)
    with join_distributed() as distributed:
        rank = distributed.rank
        facts: dict[str, Any] = {
            "sum": distributed.all_reduce_sum(torch.tensor([rank + 1.0])).item(),
            "equal": distributed.all_equal(7),
            "unequal": distributed.all_equal(rank),
        }
        with distributed.rank_zero_first():
            facts["rank_zero_was_here"] = (out / "rank-zero").exists()
            if distributed.is_main:
                (out / "rank-zero").touch()
        result, weights = train(distributed, out / "work")
        torch.save(weights, out / f"rank{rank}.pt")
        facts |= result
        facts["diverged"] = catch_error(distributed, out / "diverged", learning_rate=1e30, epochs=1)
        local_folder = out / f"local{rank}"
        if distributed.is_main:
            shutil.copytree(out / "work", local_folder)
        facts["different"] = catch_error(distributed, local_folder, resume=True)
    if distributed.is_main:
        facts["alone"], weights = train(DistributedContext(), out / "alone")
        torch.save(weights, out / "alone.pt")
    (out / f"rank{rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
