"""The pictures of a run: curves, confusion matrix, reliability and coverage, as PNG files."""

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
BLUE, ORANGE, GREY = "#1f5f8b", "#d9762b", "#8a9299"


def illustrate(result: TrainingResult, folder: Path) -> None:
    """Puts the pictures and the curves of a training into its run folder.

    Args:
        result: What was trained; pictures are of its last split (test, else valid).
        folder: The run folder.
    """
    name = list(result.metrics)[-1]
    targets, probabilities = result.targets[name], result.probabilities[name]
    draw_confusion(result.metrics[name], name).savefig(folder / "confusion.png", dpi=DPI)
    draw_reliability(targets, probabilities, name).savefig(folder / "reliability.png", dpi=DPI)
    point = result.run.metrics.get("operating_point")
    if point:
        draw_coverage(point).savefig(folder / "coverage.png", dpi=DPI)
    if result.rows:
        (folder / CURVES).write_text(format_curves(result.rows))
        draw_curves(result.rows).savefig(folder / "curves.png", dpi=DPI)


def draw_confusion(metrics: ClassificationMetrics, name: str) -> Figure:
    """Draw the confusion matrix, colored by the share of each true class.

    Args:
        metrics: Metrics of the split.
        name: Name of the split.
    """
    counts, classes = metrics.confusion, [row.label for row in metrics.classes]
    size = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.42 * size
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(size), classes, rotation=90)
    axes.set_yticks(range(size), classes)
    axes.set(xlabel="predicted", ylabel="true", title=f"{name}: {metrics.images} images")
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(
            column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8
        )
    return figure


def draw_reliability(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64], name: str
) -> Figure:
    """Draws how often a score is right: the reliability diagram (`boats_metrics.calibration`).

    Args:
        targets: True class indices `(N,) int64`.
        probabilities: `(N, K) float64`.
        name: Of the split.
    """
    scores = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    measured = compute_reliability(scores, right)
    means = [row.score for row in measured.bins]
    accuracy = [row.accuracy for row in measured.bins]
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect")
    axes.plot(means, accuracy, color=BLUE, marker="o", label=f"{len(targets)} photos")
    axes.set(xlabel="score", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"{name}: expected calibration error {measured.calibration_error:.3f}")
    axes.legend()
    return figure


def draw_coverage(point: dict[str, Any]) -> Figure:
    """Draws how many photos are answered, and how rightly, at each threshold.

    Args:
        point: `ThresholdSelection.to_json()`.
    """
    rows = [row for row in point["curve"] if row[2] is not None]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    thresholds = [row[0] for row in rows]
    axes.plot(thresholds, [row[2] for row in rows], color=BLUE, label="accuracy of the answered")
    axes.plot(thresholds, [row[1] for row in rows], color=ORANGE, label="share answered")
    axes.axvline(point["threshold"], color=GREY, linestyle="--", label="chosen")
    axes.set(xlabel="threshold", xlim=(0, 1), ylim=(0, 1.02), title="held-out training photos")
    axes.legend(loc="lower left")
    return figure


def draw_curves(rows: list[EpochMetrics]) -> Figure:
    """Draws loss and accuracy over the epochs."""
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, colour in (("train", BLUE), ("valid", ORANGE)):
            values = [row.get(f"{split}_{kind}", np.nan) for row in rows]
            axes.plot(epochs, values, color=colour, label=split)
        axes.set(xlabel="epoch", title=kind)
        axes.legend()
    return figure
