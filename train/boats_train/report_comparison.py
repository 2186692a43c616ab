"""`boats-train --compare`: train all models of the report and compare the results with its numbers.

The report is the study of Venice's boats from which boats grew: accuracies on its 1,324 test
images, all taken on a separate day, and training times on a GPU.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from boats_data.dataset import Dataset
from boats_metrics.classification import ClassificationMetrics
from boats_runtime.errors import OutputError
from boats_runtime.files import write_atomic
from boats_train.models.small_cnn import IMAGE_SIZE, NAME
from boats_train.pipeline import TrainingPipeline, TrainingResult, Workspace
from boats_train.plots import BLUE, DPI, GRAY
from boats_train.runs.config import TrainConfig


@dataclass(frozen=True)
class ReportEntry:
    """A model of the report.

    Attributes:
        name: Options of `boats-train` for this model.
        accuracy: Accuracy on the test images of the report; None for a model outside the report.
        seconds: Training time in the report; None if not reported.
    """

    name: str
    accuracy: float | None = None
    seconds: float | None = None


CNN = ReportEntry("--model cnn", 0.766)
HEADS = {
    1e-4: ReportEntry("--model finetune --lr 1e-4", 0.783, 1200.0),
    1e-2: ReportEntry("--model finetune --lr 1e-2", 0.727, 1200.0),
    1e-6: ReportEntry("--model finetune --lr 1e-6", 0.477, 1200.0),
}
DEFAULT_SVM = ReportEntry("--model svm --tune off", 0.872, 6.0)
TUNED_SVM = ReportEntry("--model svm")


@dataclass(frozen=True)
class Outcome:
    """Training result of a model of the report."""

    entry: ReportEntry
    result: TrainingResult

    @property
    def metrics(self) -> Mapping[str, ClassificationMetrics]:
        """Metrics of each split, by its name."""
        return self.result.metrics

    @property
    def seconds(self) -> float:
        """Training time in seconds, without the feature extraction that all models share."""
        times: Mapping[str, float] = self.result.run.metrics["seconds"]
        return times["network"] + times["classifier"]


def train_report_models(
    config: TrainConfig, dataset: Dataset, workspace: Workspace
) -> list[Outcome]:
    """Train the five models of the report and the tuned SVM on the same features.

    Args:
        config: Configuration of the tuned SVM, from which the others are derived.
        dataset: Images with labels.
        workspace: Folders; without a cache, the models share a temporary one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        cache = workspace.cache or Path(temporary)
        outcomes: list[Outcome] = []
        for entry, model_config in derive_configs(config):
            workspace.log(f"comparison: {entry.name}")
            folder = workspace.folder / str(len(outcomes))
            model_workspace = replace(workspace, cache=cache, folder=folder)
            result = TrainingPipeline(model_config, dataset, model_workspace).run()
            outcomes.append(Outcome(entry, result))
        return outcomes


def derive_configs(config: TrainConfig) -> Iterable[tuple[ReportEntry, TrainConfig]]:
    """Yield the models of the report with configurations of the same data, backbone and seed."""
    height, width = IMAGE_SIZE
    gradient = replace(
        config, model="finetune", tune=True, groups="", learning_rate=1e-3, epochs=10,
        batch_size=128,
    )  # fmt: skip
    yield (
        CNN,
        replace(gradient, model="cnn", backbone=NAME, weights="none", height=height, width=width),
    )
    for learning_rate, entry in HEADS.items():
        yield entry, replace(gradient, learning_rate=learning_rate, epochs=100)
    yield DEFAULT_SVM, replace(config, tune=False)
    yield TUNED_SVM, config


def format_comparison(outcomes: Sequence[Outcome]) -> str:
    """Return the three tables of the report with the results of boats, as Markdown."""
    splits = list(outcomes[0].metrics)
    last = splits[-1]
    lines = [f"# Models of the report on the {last} images", "", "## Table 1: classes", ""]
    for outcome in outcomes:
        classes = [
            [row.label, *(f"{x:.3f}" for x in (row.precision, row.recall, row.f1)), row.support]
            for row in outcome.metrics[last].classes
        ]
        header = ["class", "precision", "recall", "F1", "support"]
        lines += [f"`{outcome.entry.name}`", "", *_format_table(header, classes), ""]
    accuracies = [
        [
            f"`{outcome.entry.name}`",
            *(f"{outcome.metrics[name].accuracy:.3f}" for name in splits),
            f"{outcome.metrics[last].macro_f1:.3f}",
            _format_optional(outcome.entry.accuracy, ".3f"),
        ]
        for outcome in outcomes
    ]
    header = ["model", *splits, f"{last} macro-F1", "report, test"]
    lines += ["## Table 2: accuracy", "", *_format_table(header, accuracies), ""]
    times = [
        [
            f"`{outcome.entry.name}`",
            f"{outcome.seconds:.1f}",
            _format_optional(outcome.entry.seconds, ".0f"),
        ]
        for outcome in outcomes
    ]
    lines += ["## Table 3: training time in seconds, without feature extraction", ""]
    lines += [*_format_table(["model", "boats", "report"], times), ""]
    extraction = max(outcome.result.run.metrics["seconds"]["features"] for outcome in outcomes[1:])
    lines += [f"Feature extraction took {extraction:.0f} s, once for all models.", ""]
    return "\n".join(lines)


def draw_comparison(outcomes: Sequence[Outcome]) -> Figure:
    """Draw the accuracies of boats on the last split and those of the report."""
    split = list(outcomes[0].metrics)[-1]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for position, outcome in enumerate(outcomes):
        bars = axes.barh(position - 0.2, outcome.metrics[split].accuracy, 0.4, color=BLUE)
        axes.bar_label(bars, fmt="%.3f", padding=3)
        if outcome.entry.accuracy is not None:
            bars = axes.barh(position + 0.2, outcome.entry.accuracy, 0.4, color=GRAY)
            axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set_yticks(range(len(outcomes)), [outcome.entry.name for outcome in outcomes])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.08), xlabel="accuracy")
    axes.set_title(f"blue: boats on {split}; gray: the report on its test images")
    return figure


def write_comparison(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write `compare.md`, `compare.json` and `compare.png` into a new folder.

    Raises:
        OutputError: If the folder cannot be written.
    """
    rows = [
        {
            "model": outcome.entry.name,
            "config": outcome.result.run.config.to_json(),
            "report": {"accuracy": outcome.entry.accuracy, "seconds": outcome.entry.seconds},
            "metrics": outcome.result.run.metrics,
        }
        for outcome in outcomes
    ]
    try:
        folder.mkdir(parents=True)
        draw_comparison(outcomes).savefig(folder / "compare.png", dpi=DPI)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    write_atomic(folder / "compare.json", (json.dumps(rows, indent=2) + "\n").encode())
    write_atomic(folder / "compare.md", format_comparison(outcomes).encode())


def _format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    separator = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(map(str, cells))} |" for cells in (header, separator, *rows)]


def _format_optional(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
