"""Plots of a benchmark, drawn with Matplotlib (extra `benchmark`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from boats_benchmark.report import ResultJson, select_successful, show_name


def draw_plots(results: Sequence[ResultJson], folder: Path) -> list[str]:
    """Draw the plots and return their file names.

    `latency.png` is the distribution of the latency; `batches.png` and `threads.png` are the
    throughput by batch size and by number of threads, if there are several.

    Args:
        results: Combinations; those that failed are not drawn.
        folder: Folder for the plots.
    """
    measured = select_successful(results)
    if not measured:
        return []
    names = ["latency.png"]
    _draw_latency(measured, folder / names[0])
    for key, name in (("batch", "batches.png"), ("threads", "threads.png")):
        if len({result[key] for result in measured if result[key] is not None}) > 1:
            _draw_throughput(measured, key, folder / name)
            names.append(name)
    return names


def _draw_latency(results: Sequence[ResultJson], path: Path) -> None:
    figure, axes = _create_figure()
    for result in results:
        values = np.concatenate([trial["values_ns"] for trial in result["turns"]]) / 1e6
        fractions = np.arange(1, len(values) + 1) / len(values)
        axes.step(np.sort(values), fractions, where="post", label=_make_label(result))
    axes.set(xlabel="latency of a run, ms", ylabel="fraction of runs", xscale="log", ylim=(0, 1))
    _save(figure, axes, path)


def _draw_throughput(results: Sequence[ResultJson], key: str, path: Path) -> None:
    figure, axes = _create_figure()
    other_keys = [name for name in ("model", "provider", "batch", "threads") if name != key]
    lines: dict[tuple[Any, ...], list[ResultJson]] = {}
    for result in results:
        if result[key] is not None:
            lines.setdefault(tuple(result[name] for name in other_keys), []).append(result)
    for line in lines.values():
        points = sorted(line, key=lambda result: int(result[key]))
        rates = [result["photos_per_second"] for result in points]
        # A percentile interval of a skewed statistic need not contain the value.
        below = [max(0.0, rate["value"] - rate["low"]) for rate in rates]
        above = [max(0.0, rate["high"] - rate["value"]) for rate in rates]
        axes.errorbar(
            [result[key] for result in points],
            [rate["value"] for rate in rates],
            yerr=[below, above],
            marker="o",
            capsize=3,
            label=_make_label(points[0], without=key),
        )
    axes.set(xlabel=key, ylabel="images per second", ylim=(0, None))
    axes.set_xticks(sorted({result[key] for result in results if result[key] is not None}))
    _save(figure, axes, path)


def _make_label(result: ResultJson, without: str = "") -> str:
    # Matplotlib reads text between dollar signs as a formula.
    parts = [show_name(result["model"]).replace("$", r"\$"), result["provider"]]
    if without != "batch":
        parts.append(f"batch {result['batch']}")
    if without != "threads" and result["threads"] is not None:
        parts.append(f"{result['threads']} threads")
    label = ", ".join(parts)
    # Matplotlib leaves labels that start with an underscore out of the legend.
    return f" {label}" if label.startswith("_") else label


def _create_figure() -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, axes: Any, path: Path) -> None:
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
