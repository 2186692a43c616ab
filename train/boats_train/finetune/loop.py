"""Training loop with checkpoints, curves, a progress bar and a check of the loss."""

import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boats_runtime.errors import RunError
from boats_runtime.files import write_atomic
from boats_runtime.progress import track
from boats_train.runs.checkpoints import CHECKPOINT

EpochMetrics = dict[str, float]
"""Metrics of one epoch by name, among them `epoch`, counted from 1, and `train_loss`."""

CURVES = "curves.csv"


@dataclass(frozen=True)
class Checkpoint:
    """Folder where a training saves its state after every epoch.

    With `resume`, training continues from the checkpoint in the folder, if it exists; otherwise the
    folder is emptied. `log` is told which of both happens.
    """

    folder: Path
    resume: bool
    log: Callable[[str], None] = lambda _: None


class TrainingLoop:
    """Run epochs and save the state after each of them.

    The state is everything that training changes, by name; the values have `state_dict` and
    `load_state_dict`. All processes read the checkpoint, rank 0 writes it; None saves nothing.
    Every epoch has its own seed, so a resumed training gives the same result as an uninterrupted
    one.

    Raises:
        RunError: If the checkpoint cannot be read or belongs to another network.
    """

    def __init__(
        self, state: Mapping[str, Any], checkpoint: Checkpoint | None, seed: int, rank: int = 0
    ) -> None:
        self._state, self._seed, self._rank = state, seed, rank
        self._folder = checkpoint.folder if checkpoint else None
        self.history: list[EpochMetrics] = []
        log = checkpoint.log if checkpoint and rank == 0 else lambda _: None
        if checkpoint and checkpoint.resume and (checkpoint.folder / CHECKPOINT).is_file():
            self._load(checkpoint.folder / CHECKPOINT)
            log(f"resuming after epoch {len(self.history)} of {checkpoint.folder / CHECKPOINT}")
        elif checkpoint and rank == 0:
            if checkpoint.resume:
                parent = checkpoint.folder.parent
                log(f"--resume: {parent} has no checkpoint of this training: starting with epoch 1")
            make_empty(checkpoint.folder)

    def run(
        self,
        epochs: int,
        train_epoch: Callable[[int], EpochMetrics],
        should_stop: Callable[[list[EpochMetrics]], bool] = lambda _: False,
    ) -> list[EpochMetrics]:
        """Run the epochs that are not in the history, and return the history.

        `train_epoch` trains the epoch of a number, counted from 1, and returns its metrics;
        `should_stop` decides from the history whether to stop early.

        Raises:
            RunError: If the loss is not finite.
            OutputError: If the checkpoint cannot be written.
        """
        remaining = range(len(self.history) + 1, epochs + 1)
        for number in track(remaining, "epochs", len(remaining)) if self._rank == 0 else remaining:
            if self.history and should_stop(self.history):
                break
            torch.manual_seed(derive_seed(self._seed, number, self._rank))
            metrics = {"epoch": float(number)} | train_epoch(number)
            if not np.isfinite(metrics["train_loss"]):
                raise RunError(
                    f"the loss is {metrics['train_loss']} in epoch {number}: the learning rate "
                    "is too high for this data, give a lower --lr"
                )
            self.history.append(metrics)
            if self._folder and self._rank == 0:
                self._save(self._folder)
        return self.history

    def _save(self, folder: Path) -> None:
        state = {name: value.state_dict() for name, value in self._state.items()}
        buffer = io.BytesIO()
        torch.save({"history": self.history, "state": state}, buffer)
        # The checkpoint last: if the process is killed in between, the epoch is repeated.
        write_atomic(folder / CURVES, format_curves(self.history).encode())
        write_atomic(folder / CHECKPOINT, buffer.getvalue())

    def _load(self, path: Path) -> None:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            for name, value in self._state.items():
                value.load_state_dict(content["state"][name])
            self.history = list(content["history"])
        except Exception as error:
            raise RunError(
                f"{path}: cannot resume from this checkpoint; train again without --resume"
            ) from error


def make_empty(folder: Path) -> None:
    """Create a folder, or remove its content: the folder itself may be locked."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def derive_seed(*components: int) -> int:
    """Return a seed that depends on all components, such as seed, epoch and rank."""
    return int(np.random.SeedSequence(components).generate_state(1)[0])


def format_curves(history: list[EpochMetrics]) -> str:
    """Return the metrics of at least one epoch as CSV, one row per epoch."""
    rows = [",".join(map(str, epoch.values())) for epoch in history]
    return "\n".join([",".join(history[0]), *rows, ""])
