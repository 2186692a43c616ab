"""Epochs that survive an interruption: checkpoints, curves, progress, and a stop when they fail."""

import csv
import io
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.tensorboard.writer import SummaryWriter

from boats_runtime.errors import RunError
from boats_runtime.files import write_atomic
from boats_runtime.progress import track

Row = dict[str, float]
"""One epoch's curves: `epoch` from 1, `train_loss`, and what else was measured."""

CHECKPOINT = "checkpoint.pt"
CURVES = "curves.csv"
EVENTS = "events"


class Stateful(Protocol):
    """What a checkpoint can hold: modules, optimizers, schedules."""

    def state_dict(self) -> Mapping[str, Any]:
        """Returns everything that training changes, as tensors and plain values."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Takes such a state back."""
        ...


class Epochs:
    """Runs epochs one after the other and keeps what a resumed run needs.

    In the folder lie `checkpoint.pt` (read back with `weights_only=True`), `curves.csv`, and
    TensorBoard's `events`, all of them current after every epoch.

    Args:
        parts: Everything that training changes, by name.
        folder: Where to keep it; made when missing.
        resume: Whether to go on from the folder's checkpoint; else what is there is removed.
        seed: Of the whole training; every epoch draws from a seed of its own, so that a resumed one
            draws the same.
        rank: Of this process, when several train together: all read the checkpoint, only rank 0
            writes, and each draws for itself.

    Attributes:
        rows: The curves so far.

    Raises:
        RunError: The checkpoint can't be read, or is of another training.
    """

    def __init__(
        self,
        parts: Mapping[str, Stateful],
        folder: Path,
        *,
        resume: bool,
        seed: int,
        rank: int = 0,
    ) -> None:
        self._parts = parts
        self._folder = folder
        self._seed = seed
        self._rank = rank
        self.rows: list[Row] = []
        checkpoint = folder / CHECKPOINT
        if resume and checkpoint.is_file():
            self._load(checkpoint)
        elif rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
        if rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder / EVENTS, ignore_errors=True)

    def run(
        self,
        count: int,
        epoch: Callable[[int], Row],
        title: str,
        finished: Callable[[list[Row]], bool] = lambda _: False,
    ) -> list[Row]:
        """Runs what is left of the epochs.

        Args:
            count: How many there are, those before an interruption included.
            epoch: Trains one epoch, given its number from 1, and returns its curves.
            title: Shown beside the progress bar.
            finished: Says after each epoch whether to stop early.

        Returns:
            The curves, a row an epoch.

        Raises:
            RunError: The loss is not a number any more; says what to do.
            OutputError: The checkpoint can't be written.
        """
        main = self._rank == 0
        left = range(len(self.rows) + 1, count + 1)
        with SummaryWriter(str(self._folder / EVENTS)) if main else nullcontext() as events:
            for row in self.rows:
                _add(events, row)
            for number in track(left, title, len(left)) if main else left:
                if self.rows and finished(self.rows):
                    break
                # Rank 0's is the same as that of a process by itself.
                entropy = np.random.SeedSequence([self._seed, number, self._rank])
                torch.manual_seed(int(entropy.generate_state(1)[0]))
                row = {"epoch": float(number)} | epoch(number)
                if not np.isfinite(row["train_loss"]):
                    raise RunError(
                        f"the loss is {row['train_loss']} in epoch {number}: the learning rate "
                        "is too high for this data, give a lower --lr"
                    )
                self.rows.append(row)
                _add(events, row)
                if main:
                    self._save()
        return self.rows

    def _save(self) -> None:
        content = {
            "rows": self.rows,
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        # The checkpoint last: after a kill between the two, the epoch is done again.
        write_atomic(self._folder / CURVES, curves_csv(self.rows).encode())
        write_atomic(self._folder / CHECKPOINT, buffer.getvalue())

    def _load(self, checkpoint: Path) -> None:
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
            for name, part in self._parts.items():
                part.load_state_dict(content["parts"][name])
            self.rows = list(content["rows"])
        except Exception as error:
            raise RunError(
                f"{checkpoint}: can't go on from it; train again without --resume"
            ) from error


def curves_csv(rows: list[Row]) -> str:
    """Returns curves as CSV, a row an epoch."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def _add(events: SummaryWriter | None, row: Row) -> None:
    if not events:
        return
    for name, value in row.items():
        if name != "epoch":
            events.add_scalar(name, value, int(row["epoch"]))
