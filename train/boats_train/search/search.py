"""Evaluation of all candidates, the cheapest first."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from boats_data.dataset import Dataset
from boats_runtime.cli.app import Log
from boats_runtime.decoding import decode
from boats_runtime.errors import CheckError, ImageError, OutputError, UsageError
from boats_runtime.files import lock_folder
from boats_train.runs.config import TrainConfig
from boats_train.search.candidates import Architecture, measure_architecture, order_by_cost
from boats_train.search.evaluation import Evaluator
from boats_train.search.exported import (
    TIMED_IMAGES,
    Latency,
    link_validation,
    measure_latencies,
)
from boats_train.search.frontier import Budget, is_clearly_worse
from boats_train.search.results import CandidateResult, ResultStore
from boats_train.search.steps import CandidateSteps, StepContext

INT8_SHARE = 0.35
"""Expected latency of an int8 network relative to fp32, before one is measured."""

FIXED_COST = 300_000_000
"""Multiply-adds whose time the export and the classifier of a candidate take, for the time left."""

CLEARLY_OVER = 1.5
"""A candidate whose expected latency is so many times the budget is not evaluated."""

ROUNDS, SECONDS = 3, 3.0
"""Trials of each file in the last measurement, and their duration in seconds."""


@dataclass(frozen=True)
class SearchSpace:
    """Candidates of a search and its limits.

    Attributes:
        architectures: Backbones, weights and sizes.
        precisions: Precisions.
        budget: Limits of latency and file size.
        provider: Provider, as in boats-predict.
    """

    architectures: tuple[Architecture, ...]
    precisions: tuple[str, ...]
    budget: Budget
    provider: str = "auto"


class Search:
    """Search on one dataset.

    Args:
        space: Candidates.
        dataset: Dataset.
        config: Configuration of the training of the chosen candidate.
        cache: Folder of the feature cache, or None.
        folder: Folder of the search.
        log: Function that takes lines about the progress.
    """

    def __init__(
        self, space: SearchSpace, dataset: Dataset, config: TrainConfig, cache: Path | None,
        folder: Path, log: Log,
    ) -> None:  # fmt: skip
        self._space = space
        self._dataset = dataset
        self._config = replace(
            config, unfreeze="0", learning_rate=0.0, epochs=0, batch_size=0, tune=True
        )
        self._cache = cache
        self._folder = folder
        self._log = log
        self._store = ResultStore(folder / "candidates")
        self._evaluator = Evaluator(dataset, config)
        self._results: list[CandidateResult] = []

    @property
    def folds(self) -> tuple[str, tuple[str, ...]]:
        """How images are held out, with the names of the groups."""
        return self._evaluator.folds.kind, self._evaluator.folds.names

    def run(self) -> list[CandidateResult]:
        """Evaluate the candidates and return their results, the cheapest first.

        Raises:
            UsageError: If no backbone is available.
            DataError: If a class has no readable images.
            OutputError: If the folder or the cache cannot be written.
            BoatsError: If the export or the measurement of a candidate fails.
        """
        with self._lock():
            architectures = self._measure_architectures()
            context = self._make_context()
            costs = np.cumsum([0, *(item.multiply_adds + FIXED_COST for item in architectures)])
            started = time.monotonic()
            for number, architecture in enumerate(architectures):
                share = costs[number] / costs[-1]
                elapsed = time.monotonic() - started
                left = f", about {elapsed * (1 / share - 1) / 60:.0f} min left" if share else ""
                self._log(
                    f"candidate {number + 1} of {len(architectures)}: {architecture.name}, "
                    f"{architecture.multiply_adds / 1e9:.2f} G multiply-adds{left}"
                )
                self._evaluate(architecture, context)
            self._measure_again()
        return self._results

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            with lock_folder(self._folder):
                (self._folder / "candidates").mkdir(exist_ok=True)
                yield
        except BlockingIOError as error:
            raise OutputError(
                f"{self._folder}: another process is running the same search; wait for it, or "
                "give another --out"
            ) from error

    def _make_context(self) -> StepContext:
        return StepContext(
            self._dataset, self._config, self._evaluator, self._store, self._cache, self._folder,
            link_validation(self._dataset, self._folder / "data"), self._space.provider,
            self._measure, self._log,
        )  # fmt: skip

    def _measure_architectures(self) -> list[Architecture]:
        measured: list[Architecture] = []
        errors: dict[str, UsageError] = {}
        for architecture in self._space.architectures:
            if architecture.backbone in errors:
                continue
            try:
                measured.append(measure_architecture(architecture))
            except UsageError as error:
                if "does not accept images" not in str(error):
                    errors[architecture.backbone] = error
                self._log(f"skipped {architecture.name}: {error}")
                reason = error
        if not measured:
            raise UsageError(f"none of the backbones can be used: {reason}")
        return order_by_cost(measured)

    def _evaluate(self, architecture: Architecture, context: StepContext) -> None:
        """Evaluate an architecture in fp32, and in the requested precisions."""
        result = self._store.load(architecture, "fp32")
        over = {p: self._is_over_budget(architecture, p) for p in self._space.precisions}
        if all(over.values()):
            self._add_stopped(result, next(iter(over.values())))
            return
        steps = CandidateSteps(context, architecture)
        result = steps.screen(result)
        reason = self._find_better(result)
        if reason:
            self._add_stopped(result, reason)
            return
        result = steps.cross_validate(result)
        reason = self._find_dominating(result)
        if reason:
            self._add_stopped(result, reason)
            return
        if "fp32" not in self._space.precisions:
            self._results.append(replace(result, stopped="only for int8"))
        elif over["fp32"]:
            self._add_stopped(result, over["fp32"])
        else:
            self._results.append(steps.export(result))
        if "int8" not in self._space.precisions or over["int8"]:
            return
        int8 = self._store.load(architecture, "int8")
        try:
            int8 = steps.export(replace(int8, hyperparameters=result.hyperparameters))
            self._results.append(steps.cross_validate_exported(int8))
        except CheckError as error:
            self._add_stopped(int8, str(error))

    def _add_stopped(self, result: CandidateResult, reason: str) -> None:
        self._log(f"stopped {result.name}: {reason}")
        self._results.append(replace(result, stopped=reason))

    def _is_over_budget(self, architecture: Architecture, precision: str) -> str:
        """Return why a candidate is clearly over the budget, or an empty text."""
        budget = self._space.budget
        weights = architecture.get_min_megabytes(precision)
        if budget.megabytes is not None and weights > budget.megabytes:
            return f"its weights have {weights:.1f} MB, the budget is {budget.megabytes:g} MB"
        if budget.latency_ms is None:
            return ""
        expected = self._predict_latency(architecture, precision)
        if expected is None or expected <= CLEARLY_OVER * budget.latency_ms:
            return ""
        return f"about {expected:.0f} ms are expected, the budget is {budget.latency_ms:g} ms"

    def _predict_latency(self, architecture: Architecture, precision: str) -> float | None:
        """Return the expected latency by multiply-adds, from the most similar measured one."""
        measured = [result for result in self._results if result.latency]
        if not measured:
            return None

        def rank(result: CandidateResult) -> tuple[bool, bool, int]:
            other = result.architecture
            return (
                result.precision != precision,
                other.backbone != architecture.backbone,
                abs(other.multiply_adds - architecture.multiply_adds),
            )

        nearest = min(measured, key=rank)
        factor = architecture.multiply_adds / max(nearest.architecture.multiply_adds, 1)
        if nearest.precision != precision:
            factor *= INT8_SHARE if precision == "int8" else 1 / INT8_SHARE
        return nearest.latency.scale(factor) if nearest.latency else None

    def _find_better(self, result: CandidateResult) -> str:
        """Return why a cheaper candidate is clearly better on the subset, or an empty text."""
        own = result.screening
        for other in self._list_cheaper(result.architecture):
            if other.screening and own and is_clearly_worse(own, other.screening):
                return (
                    f"on {own.images} images less accurate ({own.mean:.3f}) than the faster "
                    f"{other.architecture.name} ({other.screening.mean:.3f})"
                )
        return ""

    def _find_dominating(self, result: CandidateResult) -> str:
        """Return that a cheaper candidate is at least as accurate, or an empty text."""
        own = result.accuracy
        for other in self._list_cheaper(result.architecture):
            known = other.cross_validation
            if known and known.mean >= own.mean and known.macro_f1 >= own.macro_f1:
                return (
                    f"accuracy {own.mean:.3f} and macro-F1 {own.macro_f1:.3f}, not better than "
                    f"the faster {other.architecture.name}"
                )
        return ""

    def _list_cheaper(self, architecture: Architecture) -> list[CandidateResult]:
        """Return the fp32 results of architectures that are expected to be faster."""
        others = [
            result
            for result in self._results
            if result.precision == "fp32" and result.architecture is not architecture
        ]
        own = self._predict_latency(architecture, "fp32")

        def is_cheaper(other: Architecture) -> bool:
            latency = self._predict_latency(other, "fp32")
            if own is None or latency is None:
                return other.multiply_adds <= architecture.multiply_adds
            return latency <= own

        return [result for result in others if is_cheaper(result.architecture)]

    def _measure_again(self) -> None:
        """Measure the finished candidates in interleaved trials, for a fair comparison."""
        finished = [index for index, result in enumerate(self._results) if result.is_finished]
        if not finished:
            return
        self._log(f"measuring the latency of {len(finished)} exported candidates")
        files = [self._store.get_file(self._results[index]) for index in finished]
        latencies = self._measure(files, ROUNDS, SECONDS)
        for index, latency in zip(finished, latencies, strict=True):
            self._results[index] = replace(self._results[index], latency=latency)
            self._store.save(self._results[index])

    def _measure(self, files: Sequence[Path], rounds: int, seconds: float) -> list[Latency]:
        """Measure exported files on images of the dataset."""
        images = _find_readable(self._dataset.splits["train"].paths, TIMED_IMAGES)
        return measure_latencies(files, images, self._space.provider, rounds, seconds)


def _find_readable(paths: Sequence[Path], count: int) -> list[Path]:
    """Return evenly spaced images that can be decoded."""
    indices = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[index] for index in indices if _is_readable(paths[index])]


def _is_readable(path: Path) -> bool:
    try:
        decode(path)
    except ImageError:
        return False
    return True
