"""Files, providers, batches and threads side by side: turns in processes of their own, interleaved.

The scenarios are those of MLPerf Inference (Reddi et al. 2020, https://arxiv.org/abs/1911.02549):

    single-stream   one photo after the other; the 90th percentile of the latency counts
    offline         all photos are there; photos a second count
    server          photos arrive as a Poisson process; what counts is the highest rate at which
                    the 99th percentile of the latency stays under a bound

Not MLPerf results: neither its load generator nor its data are used.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from json import loads
from pathlib import Path
from typing import Any

import numpy as np

from boats_benchmark.load import highest_rate
from boats_benchmark.timing import P99_COUNT, Percentile, percentiles
from boats_benchmark.trial import Turn
from boats_runtime.errors import BoatsError, ModelError, ProviderError

SCENARIOS = ("single-stream", "offline", "server")

TakeTurn = Callable[[Turn], dict[str, Any]]


@dataclass(frozen=True)
class Combination:
    """What is compared: a file on a provider, with a batch and threads.

    Attributes:
        model: The file.
        provider: The provider's name.
        batch: Photos at once.
        threads: That work on a run; None for all that are granted.
    """

    model: Path
    provider: str
    batch: int
    threads: int | None

    def name(self) -> str:
        """Returns it in words."""
        threads = "all threads" if self.threads is None else f"{self.threads} threads"
        return f"{self.model} on {self.provider}, batch {self.batch}, {threads}"


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        scenario: One of `SCENARIOS`.
        seconds: Each combination is measured for at least so long, all its turns together.
        count: Each combination is run at least so often.
        rounds: In each, every combination has one turn, in an order shuffled anew.
        seed: Of the orders and arrivals.
        spin: Whether threads spin while they wait.
        bound_ms: The server scenario's bound on the 99th percentile.
        photos: Files to classify.
    """

    scenario: str = "single-stream"
    seconds: float = 10.0
    count: int = 50
    rounds: int = 5
    seed: int = 0
    spin: bool = False
    bound_ms: float = 200.0
    photos: tuple[str, ...] = ()


@dataclass
class Measured:
    """What came of a combination.

    Attributes:
        combination: Which.
        turns: What each of its turns gave, as `take_turn` has it.
        error: Why there are none; else empty.
        server: Of the server scenario: `rate` in photos a second, `p99_ms`, `bound_ms`, and each
            trial.
    """

    combination: Combination
    turns: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    exit_code: int = 0
    server: dict[str, Any] = field(default_factory=dict)


def make_combinations(
    models: Sequence[Path],
    providers: Sequence[str],
    batches: Sequence[int],
    threads: Sequence[int | None],
) -> list[Combination]:
    """Returns all combinations; threads are those of the CPU and don't multiply the others."""
    made: list[Combination] = []
    for model, provider, batch in product(models, providers, batches):
        counts = threads if provider == "cpu" else [None]
        made.extend(Combination(model, provider, batch, count) for count in counts)
    return made


def run_rounds(
    combinations: Sequence[Combination], settings: Settings, take_turn: TakeTurn
) -> Iterator[list[Measured]]:
    """Gives each combination a turn a round, and yields what there is after each turn.

    A combination that fails once is left out from then on; the others go on.

    Args:
        combinations: What to compare.
        settings: How.
        take_turn: Takes a turn; see `start_turn`.
    """
    shuffle = random.Random(settings.seed).shuffle  # noqa: S311
    measured = [Measured(one) for one in combinations]
    for number in range(settings.rounds):
        order = [one for one in measured if not one.error]
        shuffle(order)
        for one in order:
            try:
                one.turns.append(take_turn(make_turn(one.combination, settings, number)))
            except BoatsError as error:
                one.error, one.exit_code = str(error), error.exit_code
            yield measured


def make_turn(combination: Combination, settings: Settings, number: int = 0) -> Turn:
    """Returns one of the turns of a combination: its share of time and runs."""
    return Turn(
        str(combination.model),
        combination.provider,
        combination.batch,
        combination.threads,
        settings.spin,
        settings.seconds / settings.rounds,
        -(-settings.count // settings.rounds),
        settings.photos,
        seed=settings.seed + number,
    )


def find_rates(measured: list[Measured], settings: Settings, take_turn: TakeTurn) -> Iterator[None]:
    """Finds the highest rate of each combination that keeps the bound; yields after each.

    Args:
        measured: With at least one turn each; changed in place.
        settings: How.
        take_turn: Takes a turn.
    """
    for one in measured:
        if one.error:
            continue
        trials: list[dict[str, float]] = []

        def keeps(rate: float, one: Measured = one, trials: list[Any] = trials) -> bool:
            base = make_turn(one.combination, settings, len(trials))
            bound = settings.bound_ms / 1000
            loaded = replace(base, rate=rate, count=P99_COUNT, seconds=settings.seconds)
            values = take_turn(replace(loaded, bound_s=bound))["values_ns"]
            p99_ms = float(np.percentile(values, 99)) / 1e6
            # One that was given up has fewer values: too many of them were late.
            kept = len(values) >= P99_COUNT and p99_ms <= settings.bound_ms
            trials.append({"rate": rate, "p99_ms": p99_ms, "kept": kept})
            return kept

        rate = highest_rate(keeps, photos_a_second(one))
        kept = [trial["p99_ms"] for trial in trials if trial["rate"] == rate]
        one.server = {
            "rate": rate,
            "p99_ms": kept[0] if kept else None,
            "bound_ms": settings.bound_ms,
            "trials": trials,
        }
        yield


def photos_a_second(measured: Measured) -> float:
    """Returns the photos of all timed runs, divided by the time that they took."""
    spent = sum(sum(turn["values_ns"]) for turn in measured.turns) / 1e9
    runs = sum(len(turn["values_ns"]) for turn in measured.turns)
    return runs * measured.combination.batch / spent


def to_row(measured: Measured) -> dict[str, Any]:
    """Returns what was measured of a combination, raw values included, as JSON values.

    Percentiles are of runs, `photos_per_second` with its interval from the rounds; `load_ms`,
    `first_ms` and the rest are medians of the turns, `peak_mb` and `gpu_mb` the largest.
    """
    one = measured.combination
    row: dict[str, Any] = {
        "model": str(one.model),
        "provider": one.provider,
        "batch": one.batch,
        "threads": one.threads,
        "error": measured.error,
    }
    if measured.error:
        return row
    turns = measured.turns
    rounds = [np.array(turn["values_ns"], dtype=np.int64) for turn in turns]
    rates = [one.batch * len(values) / values.sum() * 1e9 for values in rounds]
    draws = np.random.default_rng(0).choice(rates, (1000, len(rates))).mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return row | {
        "active_provider": turns[0]["provider"],
        "nodes": turns[0]["nodes"],
        "digest": turns[0]["digest"],
        "runs": sum(map(len, rounds)),
        **{name: asdict(value) for name, value in percentiles(rounds).items()},
        "photos_per_second": asdict(Percentile(photos_a_second(measured), float(low), float(high))),
        **{name: _median(turns, name) for name in ("load_ms", "first_ms")},
        "stages_ms": {
            stage: float(np.median([turn["stages_ms"][stage] for turn in turns]))
            for stage in turns[0]["stages_ms"]
        },
        "cpu_cores": sum(turn["cpu_s"] for turn in turns) / sum(turn["wall_s"] for turn in turns),
        **{name: _largest(turns, name) for name in ("peak_mb", "gpu_mb")},
        "server": measured.server or None,
        "turns": turns,
    }


def start_turn(turn: Turn) -> dict[str, Any]:
    """Takes a turn in a process of its own.

    Raises:
        ModelError: The file can't be used, or the process died.
        ProviderError: The provider is not there or does not run the file.
    """
    command = [sys.executable, "-m", "boats_benchmark.trial", turn.to_json()]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    lines = result.stdout.splitlines()
    if result.returncode or not lines:
        last = next(reversed(result.stderr.splitlines()), f"exit code {result.returncode}")
        raise ModelError(f"{turn.model}: its process ended before it was measured: {last}")
    answer: dict[str, Any] = loads(lines[-1])
    if "error" in answer:
        kind = ProviderError if answer["exit_code"] == ProviderError.exit_code else ModelError
        raise kind(answer["error"])
    return answer


def _median(turns: list[dict[str, Any]], name: str) -> float:
    return float(np.median([turn[name] for turn in turns]))


def _largest(turns: list[dict[str, Any]], name: str) -> float | None:
    known = [float(turn[name]) for turn in turns if turn[name] is not None]
    return max(known, default=None)
