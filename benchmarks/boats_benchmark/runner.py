"""Comparison of files, providers, batch sizes and threads in interleaved trials.

Each trial is a process. The scenarios are those of MLPerf Inference (Reddi et al. 2020,
https://arxiv.org/abs/1911.02549):

    single-stream   one image after another; latency at p50 and p90
    offline         all images are available; images per second
    server          images arrive as a Poisson process; the highest rate at which 99% of the
                    images meet a bound on the latency

The results are not MLPerf results: neither its load generator nor its data are used.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_benchmark.load import Attempt
from boats_benchmark.timing import estimate_percentiles, estimate_throughput, shuffle_rounds
from boats_benchmark.trial import STAGES, Trial, TrialResult
from boats_runtime.errors import BoatsError, ModelError, ProviderError

StartTrial = Callable[[Trial], TrialResult]
StartServer = Callable[[Trial], list[Attempt]]


@dataclass(frozen=True)
class Combination:
    """A file on a provider with a batch size and a number of threads.

    Attributes:
        model: Exported file.
        provider: Name of the provider.
        batch: Batch size.
        threads: Number of threads; None for all available CPUs.
    """

    model: Path
    provider: str
    batch: int
    threads: int | None


@dataclass(frozen=True)
class BenchmarkSettings:
    """Settings of a benchmark.

    Attributes:
        scenario: `single-stream`, `offline` or `server`.
        seconds: Smallest duration of all trials of a combination together; in the server
            scenario, half of it is for the trials and half for the search of the rate.
        min_runs: Smallest number of runs of a combination.
        rounds: Number of rounds; in a round each combination has one trial, in shuffled order.
        seed: Seed for the orders and the arrival times.
        spin: Whether idle threads spin.
        bound_ms: Bound on the latency of 99% of the images in the server scenario, in milliseconds.
        images: Paths of the images to classify; empty for a synthetic one.
    """

    scenario: str = "single-stream"
    seconds: float = 10.0
    min_runs: int = 50
    rounds: int = 5
    seed: int = 0
    spin: bool = False
    bound_ms: float = 200.0
    images: tuple[str, ...] = ()

    @property
    def stage_seconds(self) -> float:
        """Duration of the trials of a combination, and of the search if there is one."""
        return self.seconds / 2 if self.scenario == "server" else self.seconds


@dataclass
class CombinationResult:
    """Measurements of a combination.

    Attributes:
        combination: The combination.
        trials: Result of each trial.
        error: Message of the trial that failed; empty if none did.
        exit_code: Exit code of the error.
        server: Result of the server scenario: `bound_ms`, the rates that were tried as `trials`,
            and `rate`, `images`, `late` and `p99_ms` of the highest one that met the bound.
    """

    combination: Combination
    trials: list[TrialResult] = field(default_factory=list)
    error: str = ""
    exit_code: int = 0
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def durations(self) -> list[NDArray[np.int64]]:
        """Durations of the runs of each trial, (N,) int64, nanoseconds."""
        return [np.array(trial.values_ns, dtype=np.int64) for trial in self.trials]

    def to_json(self) -> dict[str, Any]:
        """Return estimates and raw values as JSON values.

        Percentiles and `photos_per_second` are those of all runs, `peak_mb` and `gpu_mb` are
        maximums, other values are medians of the trials.
        """
        combination = asdict(self.combination) | {"model": str(self.combination.model)}
        content: dict[str, Any] = combination | {"error": self.error}
        if self.error:
            return content
        trials, durations = self.trials, self.durations
        throughput = estimate_throughput(durations, self.combination.batch)
        return content | {
            "active_provider": trials[0].provider,
            "nodes": trials[0].nodes,
            "digest": trials[0].digest,
            "runs": sum(map(len, durations)),
            **{name: asdict(value) for name, value in estimate_percentiles(durations).items()},
            "photos_per_second": asdict(throughput),
            "load_ms": float(np.median([trial.load_ms for trial in trials])),
            "first_ms": float(np.median([trial.first_ms for trial in trials])),
            "stages_ms": {
                stage: float(np.median([trial.stages_ms[stage] for trial in trials]))
                for stage in STAGES
            },
            "cpu_cores": sum(trial.cpu_s for trial in trials)
            / sum(trial.wall_s for trial in trials),
            "peak_mb": _max_or_none(trial.peak_mb for trial in trials),
            "gpu_mb": _max_or_none(trial.gpu_mb for trial in trials),
            "server": self.server or None,
            "turns": [asdict(trial) for trial in trials],
        }


def make_combinations(
    models: Sequence[Path],
    providers: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int | None],
) -> list[Combination]:
    """Return all combinations; only those on the CPU vary the number of threads."""
    return [
        Combination(model, provider, batch, count)
        for model, provider, batch in product(models, providers, batches)
        for count in (threads if provider == "cpu" else (None,))
    ]


def run_trials(
    results: Sequence[CombinationResult], settings: BenchmarkSettings, start_trial: StartTrial
) -> Iterator[None]:
    """Run a trial of each combination in each round; yield after each trial.

    A combination has no more trials after one that failed.

    Args:
        results: Combinations; their measurements are added in place.
        settings: Settings of the benchmark.
        start_trial: Function that runs a trial.
    """
    orders = islice(shuffle_rounds(results, settings.seed), settings.rounds)
    for number, order in enumerate(orders):
        for result in order:
            if result.error:
                continue
            try:
                result.trials.append(start_trial(make_trial(result.combination, settings, number)))
            except BoatsError as error:
                result.error, result.exit_code = str(error), error.exit_code
            yield


def make_trial(combination: Combination, settings: BenchmarkSettings, number: int = 0) -> Trial:
    """Return a trial with its share of the duration and the runs of a combination."""
    return Trial(
        str(combination.model),
        combination.provider,
        combination.batch,
        combination.threads,
        settings.spin,
        settings.stage_seconds / settings.rounds,
        -(-settings.min_runs // settings.rounds),
        settings.images,
        seed=settings.seed + number,
    )


def find_rates(
    results: Sequence[CombinationResult], settings: BenchmarkSettings, start_server: StartServer
) -> Iterator[None]:
    """Find the highest rate of each combination that meets the bound; yield after each.

    Args:
        results: Combinations with at least one trial each; `server` is set in place.
        settings: Settings of the benchmark.
        start_server: Function that tries rates.
    """
    for result in results:
        if result.error:
            continue
        # One run after another reaches the highest throughput.
        runs_per_second = 1e9 / float(np.concatenate(result.durations).mean())
        trial = replace(
            make_trial(result.combination, settings),
            max_rate=runs_per_second * result.combination.batch,
            seconds=settings.stage_seconds,
            bound_s=settings.bound_ms / 1000,
        )
        try:
            attempts = start_server(trial)
        except BoatsError as error:
            result.error, result.exit_code = str(error), error.exit_code
        else:
            result.server = summarize_rates(attempts, settings.bound_ms)
        yield


def summarize_rates(attempts: Sequence[Attempt], bound_ms: float) -> dict[str, Any]:
    """Return the attempts and the best one as JSON values; its values are None if there is none."""
    kept = [attempt for attempt in attempts if attempt.kept]
    best = max(kept, key=lambda attempt: attempt.rate, default=None)
    names = ("rate", "p99_ms", "images", "late")
    return {
        **{name: None if best is None else getattr(best, name) for name in names},
        "bound_ms": bound_ms,
        "trials": [asdict(attempt) for attempt in attempts],
    }


def start_trial(trial: Trial) -> TrialResult:
    """Run a trial in a new process; the errors are those of `run_process`."""
    return TrialResult(**run_process(trial))


def start_server(trial: Trial) -> list[Attempt]:
    """Try rates in a new process; the errors are those of `run_process`."""
    return [Attempt(**attempt) for attempt in run_process(trial)["attempts"]]


def run_process(trial: Trial) -> dict[str, Any]:
    """Run a trial in a new process and return what it printed.

    Raises:
        ModelError: If the file cannot be used, or the process dies.
        ProviderError: If the provider is not available or cannot run the file.
    """
    command = [sys.executable, "-m", "boats_benchmark.trial", json.dumps(asdict(trial))]
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    lines = process.stdout.splitlines()
    if process.returncode or not lines:
        errors = process.stderr.splitlines() or [f"exit code {process.returncode}"]
        raise ModelError(f"{trial.model}: the process of the trial failed: {errors[-1]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    if "error" in answer:
        kind = ProviderError if answer["exit_code"] == ProviderError.exit_code else ModelError
        raise kind(answer["error"])
    return answer


def _max_or_none(values: Iterable[float | None]) -> float | None:
    return max((float(value) for value in values if value is not None), default=None)
