"""A benchmark's pictures: the only file here that needs more than the light runtime has.

Matplotlib comes with `boats[benchmark]`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], folder: Path) -> list[str]:
    """Draws what the rows allow, and returns the names of the pictures.

    `latency.png`: how long runs took, as a distribution. `batches.png`: photos a second against the
    batch, where there are several. `threads.png`: the same against threads.

    Args:
        rows: Of a benchmark; those that failed are left out.
        folder: Where to.
    """
    good = [row for row in rows if not row["error"]]
    if not good:
        return []
    names = ["latency.png"]
    _draw_latency(good, folder / names[0])
    for key, name in (("batch", "batches.png"), ("threads", "threads.png")):
        if len({row[key] for row in good if row[key] is not None}) > 1:
            _draw_scaling(good, key, folder / name)
            names.append(name)
    return names


def _draw_latency(rows: Sequence[Row], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for row in rows:
        values = np.concatenate([turn["values_ns"] for turn in row["turns"]]) / 1e6
        shares = np.arange(1, len(values) + 1) / len(values)
        axes.step(np.sort(values), shares, where="post", label=_label(row))
    axes.set(xlabel="latency of a run, ms", ylabel="share of runs", xscale="log", ylim=(0, 1))
    _finish(figure, axes, path)


def _draw_scaling(rows: Sequence[Row], key: str, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    others = [name for name in ("model", "provider", "batch", "threads") if name != key]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row[key] is not None:
            groups.setdefault(tuple(row[name] for name in others), []).append(row)
    for group in groups.values():
        ordered = sorted(group, key=lambda row: int(row[key]))
        rates = [row["photos_per_second"] for row in ordered]
        middle = [rate["value"] for rate in rates]
        # The mean of all rounds may lie just outside of an interval of few of them.
        below = [max(0.0, rate["value"] - rate["low"]) for rate in rates]
        above = [max(0.0, rate["high"] - rate["value"]) for rate in rates]
        steps = [row[key] for row in ordered]
        label = _label(ordered[0], without=key)
        axes.errorbar(steps, middle, yerr=[below, above], marker="o", capsize=3, label=label)
    axes.set(xlabel=key, ylabel="photos a second", ylim=(0, None))
    axes.set_xticks(sorted({row[key] for row in rows if row[key] is not None}))
    _finish(figure, axes, path)


def _label(row: Row, without: str = "") -> str:
    parts = [Path(row["model"]).name, row["provider"]]
    if without != "batch":
        parts.append(f"batch {row['batch']}")
    if without != "threads" and row["threads"] is not None:
        parts.append(f"{row['threads']} threads")
    return ", ".join(parts)


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
