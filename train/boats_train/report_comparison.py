"""`boats-train --compare`: every model of the report on the same photos, beside its numbers.

The report is the study of Venice's boats that boats grew from: accuracies on its 1,324 test photos,
all of one other day, and the times it took on a GPU.
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
from boats_train.pipeline import TrainingResult, Workspace, train_model
from boats_train.plots import BLUE, DPI, GREY
from boats_train.runs.config import TrainConfig


@dataclass(frozen=True)
class Entry:
    """A model of the report.

    Attributes:
        name: As `boats-train` is told to train it.
        accuracy: The report's on its test photos; None for what is not in the report.
        seconds: The report's training time; None where it gives none.
    """

    name: str
    accuracy: float | None
    seconds: float | None


CNN = Entry("--model cnn", 0.766, None)
HEADS = {
    1e-4: Entry("--model finetune --lr 1e-4", 0.783, 1200.0),
    1e-2: Entry("--model finetune --lr 1e-2", 0.727, 1200.0),
    1e-6: Entry("--model finetune --lr 1e-6", 0.477, 1200.0),
}
PLAIN = Entry("--model svm --tune off", 0.872, 6.0)
TUNED = Entry("--model svm", None, None)


@dataclass(frozen=True)
class Outcome:
    """What a model of the report reached here."""

    entry: Entry
    result: TrainingResult

    @property
    def metrics(self) -> Mapping[str, ClassificationMetrics]:
        """Its metrics, by split."""
        return self.result.metrics

    @property
    def seconds(self) -> float:
        """Time to make and fit it, without the features that all share, in seconds."""
        times: Mapping[str, float] = self.result.run.metrics["seconds"]
        return times["network"] + times["classifier"]


def compare(config: TrainConfig, dataset: Dataset, workspace: Workspace) -> list[Outcome]:
    """Trains the report's five models and the default one on the same features.

    Args:
        config: Of the tuned SVM; the others differ from it by what the report says.
        dataset: The photos.
        workspace: Its cache is shared by all; without one they share a passing one.
    """
    with tempfile.TemporaryDirectory() as passing:
        shared = replace(workspace, cache=workspace.cache or Path(passing))
        outcomes: list[Outcome] = []
        for entry, one in configurations(config):
            workspace.log(f"comparing: {entry.name}")
            place = replace(shared, folder=shared.folder / str(len(outcomes)))
            outcomes.append(Outcome(entry, train_model(one, dataset, place)))
        return outcomes


def configurations(config: TrainConfig) -> Iterable[tuple[Entry, TrainConfig]]:
    """Yields the report's models as configurations that share the data, backbone and seed."""
    height, width = IMAGE_SIZE
    small = replace(config, backbone=NAME, weights="none", height=height, width=width)
    yield (
        CNN,
        replace(
            small, model="cnn", tune=True, groups="", learning_rate=1e-3, epochs=10, batch_size=128
        ),
    )
    head = replace(
        config,
        model="finetune",
        tune=True,
        groups="",
        learning_rate=min(HEADS),
        epochs=100,
        batch_size=128,
    )
    for rate, entry in HEADS.items():
        yield entry, replace(head, learning_rate=rate)
    yield PLAIN, replace(config, tune=False)
    yield TUNED, config


def to_markdown(outcomes: Sequence[Outcome]) -> str:
    """Returns the report's three tables, ours beside its own, as Markdown."""
    split = list(outcomes[0].metrics)[-1]
    lines = [f"# The report's models, on the {split} photos", ""]
    lines += ["## Table 1: each class", ""]
    for outcome in outcomes:
        lines += [f"`{outcome.entry.name}`", "", *_class_rows(outcome.metrics[split]), ""]
    lines += ["## Table 2: accuracy", ""]
    splits = list(outcomes[0].metrics)
    columns = ["model", *splits, f"{split} macro-F1", "report, test"]
    lines += [_row(columns), _row(["---"] + ["---:"] * (len(columns) - 1))]
    for outcome in outcomes:
        accuracies = [f"{outcome.metrics[name].accuracy:.3f}" for name in splits]
        macro_f1 = f"{outcome.metrics[split].macro_f1:.3f}"
        report = _or_dash(outcome.entry.accuracy, ".3f")
        lines.append(_row([f"`{outcome.entry.name}`", *accuracies, macro_f1, report]))
    lines += ["", "## Table 3: seconds to fit, features ready", ""]
    lines += [_row(["model", "boats", "report"]), _row(["---", "---:", "---:"])]
    for outcome in outcomes:
        report = _or_dash(outcome.entry.seconds, ".0f")
        lines.append(_row([f"`{outcome.entry.name}`", f"{outcome.seconds:.1f}", report]))
    features = max(outcome.result.run.metrics["seconds"]["features"] for outcome in outcomes[1:])
    lines += ["", f"The features themselves took {features:.0f} s, once for all.", ""]
    return "\n".join(lines)


def draw_comparison(outcomes: Sequence[Outcome]) -> Figure:
    """Draws the accuracies of the last split, ours beside the report's."""
    split = list(outcomes[0].metrics)[-1]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for place, outcome in enumerate(outcomes):
        bars = axes.barh(place - 0.2, outcome.metrics[split].accuracy, 0.4, color=BLUE)
        axes.bar_label(bars, fmt="%.3f", padding=3)
        if outcome.entry.accuracy is not None:
            bars = axes.barh(place + 0.2, outcome.entry.accuracy, 0.4, color=GREY)
            axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set_yticks(range(len(outcomes)), [outcome.entry.name for outcome in outcomes])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.08), xlabel="accuracy")
    axes.set_title(f"blue: boats on {split}; grey: the report on its test photos")
    return figure


def write_comparison(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Writes `compare.md`, `compare.json` and `compare.png` into a new folder.

    Raises:
        OutputError: The place can't be written.
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
        raise OutputError(f"{folder}: can't be written: {error.strerror}") from error
    write_atomic(folder / "compare.json", (json.dumps(rows, indent=2) + "\n").encode())
    write_atomic(folder / "compare.md", to_markdown(outcomes).encode())


def _class_rows(metrics: ClassificationMetrics) -> list[str]:
    rows = [
        _row(["class", "precision", "recall", "F1", "support"]),
        _row(["---", "---:", "---:", "---:", "---:"]),
    ]
    rows.extend(
        _row([row.label, *(f"{x:.3f}" for x in (row.precision, row.recall, row.f1)), row.support])
        for row in metrics.classes
    )
    return rows


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
