"""Exported candidates: written by `boats-export` in a child process, measured by the benchmark."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_benchmark.runner import (
    BenchmarkSettings,
    CombinationResult,
    make_combinations,
    run_trials,
    start_trial,
)
from boats_benchmark.trial import STAGES
from boats_data.dataset import Dataset
from boats_runtime.classifier import Classifier
from boats_runtime.errors import (
    BoatsError,
    CheckError,
    DataError,
    ModelError,
    ProviderError,
    UsageError,
)
from boats_runtime.progress import track
from boats_train.features.inference import InferenceBackend
from boats_train.models.sources import find_source

TIMED = "decoding, preprocessing, network and classifier of one image, as in boats-predict"
"""What the latency of a candidate includes."""

VALIDATION_IMAGES = 40
"""Validation images on which the files of candidates are verified."""

TIMED_IMAGES = 20
"""Images on which candidates are timed."""

INTERRUPTED = 130

_ERRORS: dict[int, type[BoatsError]] = {
    error.exit_code: error for error in (UsageError, DataError, ProviderError, CheckError)
}


@dataclass(frozen=True)
class Latency:
    """Latency of one image on this device.

    Attributes:
        stages_ms: Medians of the stages of a prediction in milliseconds.
        provider: Provider that ran the file.
    """

    stages_ms: dict[str, float]
    provider: str

    @property
    def total_ms(self) -> float:
        """Sum of the stages."""
        return sum(self.stages_ms.values())

    def scale(self, factor: float) -> float:
        """Return the latency of a network with so many times the multiply-adds."""
        inference = self.stages_ms["inference"]
        return self.total_ms - inference + factor * inference

    def to_json(self) -> dict[str, Any]:
        """Return the attributes and the sum as JSON values."""
        return asdict(self) | {"latency_ms": self.total_ms}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Latency":
        """Create the result of `to_json` again."""
        return cls(values["stages_ms"], values["provider"])


def link_validation(dataset: Dataset, folder: Path) -> Path:
    """Make a dataset of the same training images and a few validation images, by links.

    The files of candidates are verified on it: the accuracy is measured by cross-validation.

    Args:
        dataset: Dataset of the search.
        folder: Folder to create.

    Returns:
        The folder, or that of the dataset where links are refused.
    """
    valid = dataset.splits["valid"]
    count = min(VALIDATION_IMAGES, len(valid.paths))
    chosen = np.linspace(0, len(valid.paths) - 1, count).round().astype(int)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for index in np.unique(chosen).tolist():
            source = valid.paths[index].absolute()
            link = folder / "valid" / dataset.classes[valid.targets[index]] / source.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
        (folder / "train").symlink_to((dataset.root / "train").absolute(), target_is_directory=True)
    except OSError:
        return dataset.root
    return folder


def export(run: Path, out: Path, precision: str, backbone: str, data: Path) -> None:
    """Export a run with `boats-export` in a child process.

    Args:
        run: Run folder.
        out: File to write.
        precision: `fp32` or `int8`; an int8 file has the features as an output.
        backbone: Backbone of the run.
        data: Dataset to verify on.

    Raises:
        BoatsError: With the message and the exit code of the command.
        KeyboardInterrupt: If the command was interrupted.
    """
    program = "from boats_export.cli import main; main()"
    options = [str(run), "--precision", precision, "--out", str(out), "--data", str(data)]
    if precision == "int8":
        # The search measures the accuracy itself, on more images than the check of the command.
        options += ["--with-features", "--max-drop", "100", "--allow-lost-classes"]
    if find_source(backbone) == "custom":
        options += ["--backbone", backbone]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("BOATS_EXPORT_")
    }
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, *options],
        env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if process.returncode == 0:
        return
    if process.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    lines = process.stderr.splitlines() or [f"exit code {process.returncode}"]
    kind = _ERRORS.get(process.returncode, CheckError)
    raise kind(f"boats-export --precision {precision}: {lines[-1].removeprefix('boats-export: ')}")


def measure_latencies(
    files: Sequence[Path], images: Sequence[Path], provider: str, rounds: int, seconds: float
) -> list[Latency]:
    """Measure the latency of exported files in interleaved trials of boats-benchmark.

    Args:
        files: Exported files.
        images: Images to classify.
        provider: Provider, as in boats-predict.
        rounds: Trials of each file.
        seconds: Smallest duration of all trials of a file together.

    Raises:
        ModelError, ProviderError: If a file cannot be run.
    """
    combinations = make_combinations(files, [provider], [1], [None])
    results = [CombinationResult(combination) for combination in combinations]
    settings = BenchmarkSettings(
        seconds=seconds, min_runs=20 * rounds, rounds=rounds, images=tuple(map(str, images))
    )
    for _ in track(
        run_trials(results, settings, start_trial), "trials of latency", rounds * len(files)
    ):
        pass
    return [_summarize(result) for result in results]


def _summarize(result: CombinationResult) -> Latency:
    if result.error:
        kind = ProviderError if result.exit_code == ProviderError.exit_code else ModelError
        raise kind(result.error)
    trials = result.trials
    stages = {
        stage: float(np.median([trial.stages_ms[stage] for trial in trials])) for stage in STAGES
    }
    stages["inference"] = float(np.median(np.concatenate(result.durations))) / 1e6
    return Latency(stages, trials[0].provider)


def open_backend(file: Path, provider: str) -> tuple[InferenceBackend, str]:
    """Return the network of an exported file as an inference backend, and its SHA-256."""
    classifier = Classifier(file, provider)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return classifier.embed(pixels)

    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return InferenceBackend("int8", "exported file", 1, run), digest
