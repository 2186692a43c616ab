"""Plots of a training result: curves, confusion matrix, reliability and coverage."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from boats_metrics.calibration import compute_reliability
from boats_metrics.classification import ClassificationMetrics
from boats_train.finetune.loop import CURVES, EpochMetrics, format_curves
from boats_train.pipeline import TrainingResult

DPI = 130
BLUE, ORANGE, GRAY = "#1f5f8b", "#d9762b", "#8a9299"


def write_plots(result: TrainingResult, folder: Path) -> None:
    """Write the plots of the last split (test, or valid without test), and the curves."""
    name = list(result.metrics)[-1]
    figures = {
        "confusion.png": draw_confusion(result.metrics[name], name),
        "reliability.png": draw_reliability(result.targets[name], result.probabilities[name], name),
    }
    selection = result.run.metrics.get("operating_point")
    if selection:
        figures["coverage.png"] = draw_coverage(selection)
    if result.history:
        figures["curves.png"] = draw_curves(result.history)
        (folder / CURVES).write_text(format_curves(result.history))
    for file, figure in figures.items():
        figure.savefig(folder / file, dpi=DPI)


def draw_confusion(metrics: ClassificationMetrics, name: str) -> Figure:
    """Draw the confusion matrix of a split, colored by the share of each true class."""
    counts, classes = metrics.confusion, [row.label for row in metrics.classes]
    size = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.42 * size
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(size), classes, rotation=90, parse_math=False)
    axes.set_yticks(range(size), classes, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true", title=f"{name}: {metrics.images} images")
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(
            column, row, counts[row, column], ha="center", va="center", color=color, fontsize=8
        )
    return figure


def draw_reliability(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64], name: str
) -> Figure:
    """Draw the reliability diagram of (N,) true class indices and (N, K) probabilities."""
    correct = probabilities.argmax(axis=1) == targets
    reliability = compute_reliability(probabilities.max(axis=1), correct)
    scores = [row.score for row in reliability.bins]
    accuracies = [row.accuracy for row in reliability.bins]
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GRAY, linestyle="--", label="perfectly calibrated")
    axes.plot(scores, accuracies, color=BLUE, marker="o", label=f"{len(targets)} images")
    axes.set(xlabel="score", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{name}: expected calibration error {reliability.calibration_error:.3f}")
    axes.legend()
    return figure


def draw_coverage(selection: dict[str, Any]) -> Figure:
    """Draw coverage and selective accuracy by threshold, from `OperatingPoint.to_json`."""
    thresholds, coverages, accuracies = zip(
        *(point for point in selection["curve"] if point[2] is not None), strict=True
    )
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(thresholds, accuracies, color=BLUE, label="selective accuracy")
    axes.plot(thresholds, coverages, color=ORANGE, label="coverage")
    if selection["threshold"] > 0:
        axes.axvline(selection["threshold"], color=GRAY, linestyle="--", label="selected threshold")
    axes.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{selection['photos']} training images, each while held out")
    axes.legend(loc="lower left")
    return figure


def draw_curves(history: list[EpochMetrics]) -> Figure:
    """Draw loss and accuracy by epoch."""
    epochs = [metrics["epoch"] for metrics in history]
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, color in (("train", BLUE), ("valid", ORANGE)):
            values = [metrics.get(f"{split}_{kind}", np.nan) for metrics in history]
            axes.plot(epochs, values, color=color, label=split)
        held_out = [metrics.get(f"held_out_{kind}", np.nan) for metrics in history]
        if not np.isnan(held_out).all():
            axes.plot(epochs, held_out, color=GRAY, marker="o", label="held out, cross-fitting")
        axes.set(xlabel="epoch", title=kind)
        axes.legend()
    return figure
