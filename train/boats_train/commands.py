"""What `boats-train` does with a dataset: train, compare the models of the report, or search."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import typer

from boats_benchmark.environment import Environment
from boats_data.dataset import Dataset
from boats_data.image_sizes import sample_sizes
from boats_runtime.cli.app import Log, print_lines
from boats_runtime.errors import DataError, UsageError
from boats_train import report_comparison
from boats_train.features.cache import default_folder
from boats_train.finetune.distributed import join_distributed
from boats_train.models.weights import DownloadError
from boats_train.pipeline import TrainingPipeline, TrainingResult, Workspace
from boats_train.plots import write_plots
from boats_train.result_tables import format_result
from boats_train.runs.checkpoints import PREFIX, remove_crashed, reserve_checkpoints
from boats_train.runs.config import TrainConfig
from boats_train.runs.inputs import training_digest
from boats_train.runs.run import check_output, write_run
from boats_train.search.candidates import Architecture
from boats_train.search.frontier import Budget, choose
from boats_train.search.options import (
    SearchOptions,
    parse_backbones,
    parse_precisions,
    parse_sizes,
)
from boats_train.search.report import SearchReport, format_report, write_report
from boats_train.search.results import CandidateResult
from boats_train.search.search import Search, SearchSpace


@dataclass(frozen=True)
class TrainingSession:
    """One call of the command.

    Attributes:
        dataset: Dataset.
        cache: Value of `--cache`.
        out: Folder of runs.
        log: Function that takes lines about the progress.
    """

    dataset: Dataset
    cache: str
    out: Path
    log: Log

    def train(
        self, config: TrainConfig, *, demo: bool = False, resume: bool = False
    ) -> TrainingResult | None:
        """Train, print the metrics and write the run.

        Return None in processes of `torchrun` other than rank 0.
        """
        dataset = self.dataset
        check_output(self.out)
        is_frozen_svm = config.model == "svm" and config.unfreeze == "0"
        if resume and is_frozen_svm:
            self.log("--resume: an SVM has no epochs to resume; features are read from the cache")
        with join_distributed() as distributed, ExitStack() as reserved:
            is_shared = config.model == "finetune" and config.unfreeze != "0"
            if distributed.world_size > 1 and (demo or not is_shared):
                raise UsageError(
                    "torchrun requires --model finetune and --unfreeze, and does not support --demo"
                )
            workspace = replace(
                self._make_workspace(config, resume=resume), distributed=distributed
            )
            if distributed.is_main:
                remove_crashed(self.out)
                if not is_frozen_svm:
                    reserved.enter_context(reserve_checkpoints(workspace.folder))
            else:
                TrainingPipeline(config, dataset, workspace).join()
                distributed.barrier()  # NCCL requires that the processes leave together
                return None
            try:
                result = TrainingPipeline(config, dataset, workspace).run()
            except DownloadError as error:
                if not demo:
                    raise
                self.log(str(error))
                self.log(
                    "NO IMAGENET WEIGHTS: the demo uses random weights and will be less accurate"
                )
                config = replace(config, weights="none")
                result = TrainingPipeline(config, dataset, workspace).run()
            distributed.barrier()
            typer.echo(f"{format_result(result)}\n")
            name = f"{format_time()}-{config.model}-{config.backbone.replace(':', '-')}"
            folder = write_run(
                result.run, self.out, name, lambda folder: write_plots(result, folder)
            )
        print_lines(f"run: {folder}")
        return result

    def compare(self, config: TrainConfig) -> None:
        """Train all models of the report, and print and write the comparison."""
        check_output(self.out)
        remove_crashed(self.out)
        folder = self.out / f"{format_time()}-compare-{config.backbone.replace(':', '-')}"
        with join_distributed() as distributed:
            if distributed.world_size > 1:
                raise UsageError("torchrun does not support --compare")
            workspace = self._make_workspace(config, resume=False)
            workspace = replace(workspace, distributed=distributed)
            with reserve_checkpoints(workspace.folder):
                outcomes = report_comparison.train_report_models(config, self.dataset, workspace)
        report_comparison.write_comparison(outcomes, folder)
        typer.echo(report_comparison.format_comparison(outcomes))
        print_lines(f"comparison: {folder}")

    def search(self, config: TrainConfig, options: SearchOptions) -> TrainConfig:
        """Search, print and write the report, and return the configuration of the choice.

        Raises:
            DataError: If no candidate is within the budget; the report is written before.
        """
        check_output(self.out)
        with join_distributed() as distributed:
            if distributed.world_size > 1:
                raise UsageError("torchrun does not support --search")
        train = self.dataset.splits["train"]
        median = sample_sizes(train.paths, self.dataset.root / "train").median
        sizes = parse_sizes(options.sizes, median)
        architectures = tuple(
            Architecture(name, weights, size)
            for name, weights in parse_backbones(options.backbones)
            for size in sizes
        )
        budget = Budget(options.budget_ms, options.budget_mb)
        space = SearchSpace(architectures, tuple(parse_precisions(options.precisions)), budget)
        neutral = replace(
            config, backbone="", weights="none", height=224, width=224, image_size="", unfreeze="0",
            learning_rate=0.0, epochs=0, batch_size=0,
        )  # fmt: skip
        folder = self.out / f"search-{training_digest(neutral, self.dataset)}"
        environment = Environment()
        search = Search(space, self.dataset, config, self._get_cache_folder(), folder, self.log)
        results = search.run()
        finished = [result for result in results if result.is_finished]
        chosen = choose(finished, budget)
        report = SearchReport(results, chosen, budget, search.folds, environment.to_json())
        write_report(report, folder)
        print_lines(*format_report(report), f"search: {folder}")
        if chosen is None:
            raise DataError(describe_miss(finished, results, budget))
        print_lines(f"chosen: {chosen.name}")
        if chosen.precision == "int8" and not options.dry_run:
            self.log("export the trained run with: boats-export --precision int8")
        return chosen.architecture.configure(config)

    def _get_cache_folder(self) -> Path | None:
        return None if self.cache == "none" else Path(self.cache or default_folder())

    def _make_workspace(self, config: TrainConfig, *, resume: bool) -> Workspace:
        """Return the workspace with the folders of the cache and of the checkpoints."""
        folder = self.out / f"{PREFIX}{training_digest(config, self.dataset)}"
        return Workspace(self._get_cache_folder(), folder, resume, self.log)


def format_time() -> str:
    """Return the current time for the name of a run."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}"


def describe_miss(
    finished: Sequence[CandidateResult], results: Sequence[CandidateResult], budget: Budget
) -> str:
    """Return that no candidate is within the budget, with the nearest one."""
    message = f"no candidate is within {budget.describe()}" if budget.is_limited else "no candidate"
    if finished:
        nearest = min(finished, key=budget.compute_excess)
        measured = f"{nearest.latency_ms:.1f} ms, {nearest.megabytes:.1f} MB"
        return f"{message}; the nearest is {nearest.name} with {measured}"
    smallest = results[0]
    return f"{message}; {smallest.name} was stopped: {smallest.stopped}"
