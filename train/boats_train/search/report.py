"""Report of a search: table, JSON and plot."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from boats_runtime.files import atomic_path, write_atomic
from boats_runtime.text import escape_text
from boats_train.plots import BLUE, DPI, GRAY, ORANGE
from boats_train.search.exported import TIMED
from boats_train.search.frontier import Budget, find_frontier
from boats_train.search.results import CandidateResult

SCHEMA_VERSION = 1

OPTIMISM = (
    "The held-out groups of these accuracies also chose the candidate, which makes the number of "
    "the chosen one optimistic: evaluate it on images that were in no part of the search."
)


@dataclass(frozen=True)
class SearchReport:
    """Results of a search.

    Attributes:
        results: Candidates, the cheapest first.
        chosen: The recommended candidate; None if none is within the budget.
        budget: Limits of latency and file size.
        folds: How images were held out, with the names of the groups.
        environment: Description of the machine, as JSON values.
    """

    results: Sequence[CandidateResult]
    chosen: CandidateResult | None
    budget: Budget
    folds: tuple[str, tuple[str, ...]]
    environment: dict[str, Any]

    @property
    def finished(self) -> list[CandidateResult]:
        """Candidates whose accuracy, latency and file size are known, the fastest first."""
        finished = [result for result in self.results if result.is_finished]
        return sorted(finished, key=lambda result: result.latency_ms)

    @property
    def frontier(self) -> list[CandidateResult]:
        """Candidates on the Pareto frontier, the fastest first."""
        finished = self.finished
        flags = find_frontier(finished)
        return [result for result, flag in zip(finished, flags, strict=True) if flag]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        frontier = {result.name for result in self.frontier}
        kind, names = self.folds
        return {
            "schema_version": SCHEMA_VERSION,
            "budget": {"ms": self.budget.latency_ms, "mb": self.budget.megabytes},
            "held_out": {"kind": kind, "folds": list(names)},
            "latency_of": TIMED,
            "note": OPTIMISM,
            "chosen": self.chosen and self.chosen.name,
            "candidates": [
                {"name": result.name, "frontier": result.name in frontier} | result.to_json()
                for result in self.results
            ],
            "circumstances": self.environment,
        }


def format_report(report: SearchReport) -> list[str]:
    """Return the table of all candidates and the notes as lines of text."""
    frontier = {result.name for result in report.frontier}
    width = max(len(result.name) for result in report.results)
    lines = [f"{'candidate':{width}}  accuracy  macro-F1        ms      MB"]
    for result in report.finished:
        accuracy = result.accuracy
        marks = {"frontier": result.name in frontier, "chosen": result is report.chosen}
        mark = ", ".join(name for name, holds in marks.items() if holds)
        row = (
            f"{result.name:{width}}  {accuracy.mean:8.3f}  {accuracy.macro_f1:8.3f}  "
            f"{result.latency_ms:8.1f}  {result.megabytes:6.1f}  {mark}"
        )
        lines.append(row.rstrip())
    stopped = [result for result in report.results if not result.is_finished]
    if stopped:
        lines += ["", "stopped:"]
        lines += [f"{result.name:{width}}  {result.stopped}" for result in stopped]
    kind, names = report.folds
    lines += [
        "",
        f"accuracy: mean over held-out groups, {kind} ({', '.join(names)}); frontier: no other "
        "candidate is as good in accuracy, macro-F1, latency and size.",
        f"ms: {TIMED}; MB: the exported file.",
        OPTIMISM,
    ]
    return [escape_text(line) for line in lines]


def write_report(report: SearchReport, folder: Path) -> None:
    """Write `search.json` and `search.png` into a folder.

    Raises:
        OutputError: If a file cannot be written.
    """
    content = json.dumps(report.to_json(), indent=2) + "\n"
    write_atomic(folder / "search.json", content.encode())
    with atomic_path(folder / "search.png") as scratch:
        draw_frontier(report).savefig(scratch, dpi=DPI, format="png")


def draw_frontier(report: SearchReport) -> Figure:
    """Draw accuracy and macro-F1 of the candidates against the latency."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    finished, frontier = report.finished, report.frontier
    panels = figure.subplots(1, 2)
    for axes, title in zip(panels, ("accuracy", "macro-F1"), strict=True):

        def get_value(result: CandidateResult, title: str = title) -> float:
            accuracy = result.accuracy
            return accuracy.mean if title == "accuracy" else accuracy.macro_f1

        for precision, marker in (("fp32", "o"), ("int8", "s")):
            group = [result for result in finished if result.precision == precision]
            axes.scatter(
                [result.latency_ms for result in group],
                [get_value(result) for result in group],
                s=[20 + 8 * result.megabytes for result in group],
                marker=marker, alpha=0.8, label=precision,
                color=[BLUE if result in frontier else GRAY for result in group],
            )  # fmt: skip
        for result in frontier:
            axes.annotate(
                f"{result.architecture.backbone} "
                f"{result.architecture.size[0]}x{result.architecture.size[1]}",
                (result.latency_ms, get_value(result)), textcoords="offset points", xytext=(6, -10),
                fontsize=7, parse_math=False,
            )  # fmt: skip
        if report.chosen:
            point = (report.chosen.latency_ms, get_value(report.chosen))
            axes.scatter(
                *point, s=300, facecolors="none", edgecolors=ORANGE, linewidths=2, label="chosen"
            )
        if report.budget.latency_ms is not None:
            axes.axvline(report.budget.latency_ms, color=ORANGE, linestyle=":", label="budget")
        axes.set(xscale="log", xlabel="latency in ms (log scale)", ylabel=title)
        axes.legend(fontsize=8)
    figure.suptitle("Candidates; blue: Pareto frontier; area: file size")
    return figure
