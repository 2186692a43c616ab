"""`boats-train --compare`: train all models of the report and compare the results with its numbers.

The report is the study of Venice's boats from which boats grew: accuracies on its 1,324 test
images, all taken on a separate day, and training times on a GPU.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from boats_data.dataset import Dataset
from boats_runtime.errors import OutputError
from boats_runtime.files import write_atomic
from boats_runtime.text import escape_text
from boats_train.models.small_cnn import IMAGE_SIZE, NAME
from boats_train.pipeline import TrainingPipeline, TrainingResult, Workspace
from boats_train.plots import BLUE, DPI, GRAY
from boats_train.runs.config import TrainConfig

REPORT: dict[str, dict[str, float | None]] = {
    "--model cnn": {"accuracy": 0.766, "seconds": None},
    "--model finetune --lr 1e-4": {"accuracy": 0.783, "seconds": 1200.0},
    "--model finetune --lr 1e-2": {"accuracy": 0.727, "seconds": 1200.0},
    "--model finetune --lr 1e-6": {"accuracy": 0.477, "seconds": 1200.0},
    "--model svm --tune off": {"accuracy": 0.872, "seconds": 6.0},
    "--model svm": {"accuracy": None, "seconds": None},  # not in the report
}
"""Accuracy and training time in seconds in the report, by the options of `boats-train`."""


def train_report_models(
    config: TrainConfig, dataset: Dataset, workspace: Workspace
) -> dict[str, TrainingResult]:
    """Train the models in `REPORT` on the same features, and return their results by name.

    The configuration is that of the tuned SVM, from which the others are derived. If the workspace
    has no cache, the models share a temporary one.
    """
    results: dict[str, TrainingResult] = {}
    with tempfile.TemporaryDirectory() as temporary:
        cache = workspace.cache or Path(temporary)
        for name, model_config in derive_configs(config).items():
            workspace.log(f"comparison: {name}")
            folder = workspace.folder / str(len(results))
            model_workspace = replace(workspace, cache=cache, folder=folder)
            results[name] = TrainingPipeline(model_config, dataset, model_workspace).run()
    return results


def derive_configs(config: TrainConfig) -> dict[str, TrainConfig]:
    """Return configurations of the same data, backbone and seed for the models in `REPORT`."""
    height, width = IMAGE_SIZE
    gradient = replace(
        config, model="finetune", tune=True, groups="", learning_rate=1e-3, epochs=10,
        batch_size=128,
    )  # fmt: skip
    cnn = replace(gradient, model="cnn", backbone=NAME, weights="none", height=height, width=width)
    return {
        "--model cnn": cnn,
        "--model finetune --lr 1e-4": replace(gradient, learning_rate=1e-4, epochs=100),
        "--model finetune --lr 1e-2": replace(gradient, learning_rate=1e-2, epochs=100),
        "--model finetune --lr 1e-6": replace(gradient, learning_rate=1e-6, epochs=100),
        "--model svm --tune off": replace(config, tune=False),
        "--model svm": config,
    }


def format_comparison(results: Mapping[str, TrainingResult]) -> str:
    """Return the three tables of the report with the results of boats, as Markdown."""
    splits = list(next(iter(results.values())).metrics)
    last = splits[-1]
    lines = [f"# Models of the report on the {last} images", "", "## Table 1: classes", ""]
    accuracies, times = [], []
    for name, result in results.items():
        classes = [
            [row.label, *(f"{x:.3f}" for x in (row.precision, row.recall, row.f1)), row.support]
            for row in result.metrics[last].classes
        ]
        header = ["class", "precision", "recall", "F1", "support"]
        lines += [f"`{name}`", "", *_format_table(header, classes), ""]
        scores = [result.metrics[split].accuracy for split in splits]
        scores.append(result.metrics[last].macro_f1)
        accuracy = _format_optional(REPORT[name]["accuracy"], ".3f")
        accuracies.append([f"`{name}`", *(f"{score:.3f}" for score in scores), accuracy])
        measured = result.run.metrics["seconds"]
        seconds = _format_optional(REPORT[name]["seconds"], ".0f")
        times.append([f"`{name}`", f"{measured['network'] + measured['classifier']:.1f}", seconds])
    header = ["model", *splits, f"{last} macro-F1", "report, test"]
    lines += ["## Table 2: accuracy", "", *_format_table(header, accuracies), ""]
    lines += ["## Table 3: training time in seconds, without feature extraction", ""]
    lines += [*_format_table(["model", "boats", "report"], times), ""]
    _, *shared = (result.run.metrics["seconds"]["features"] for result in results.values())
    lines += [f"Feature extraction took {max(shared):.0f} s, once for all models.", ""]
    return "\n".join(map(escape_text, lines))


def draw_comparison(results: Mapping[str, TrainingResult]) -> Figure:
    """Draw the accuracies of boats on the last split and those of the report."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    split = list(next(iter(results.values())).metrics)[-1]
    for position, (name, result) in enumerate(results.items()):
        bars = axes.barh(position - 0.2, result.metrics[split].accuracy, 0.4, color=BLUE)
        axes.bar_label(bars, fmt="%.3f", padding=3)
        accuracy = REPORT[name]["accuracy"]
        if accuracy is not None:
            bars = axes.barh(position + 0.2, accuracy, 0.4, color=GRAY)
            axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.08), xlabel="accuracy")
    axes.set_title(f"blue: boats on {split}; gray: the report on its test images")
    return figure


def write_comparison(results: Mapping[str, TrainingResult], folder: Path) -> None:
    """Write `compare.md`, `compare.json` and `compare.png` into a new folder.

    Raises:
        OutputError: If the folder cannot be written.
    """
    rows = [
        {
            "model": name,
            "config": result.run.config.to_json(),
            "report": REPORT[name],
            "metrics": result.run.metrics,
        }
        for name, result in results.items()
    ]
    try:
        folder.mkdir(parents=True)
        draw_comparison(results).savefig(folder / "compare.png", dpi=DPI)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    write_atomic(folder / "compare.json", (json.dumps(rows, indent=2) + "\n").encode())
    write_atomic(folder / "compare.md", format_comparison(results).encode())


def _format_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    separator = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(map(str, cells))} |" for cells in (header, separator, *rows)]


def _format_optional(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
