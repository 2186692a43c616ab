"""What a benchmark found, as a table for a terminal and as a page of Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    "file", "provider", "batch", "threads", "p50 ms", "p90 ms", "p99 ms", "photos/s",
    "load ms", "first ms", "cores", "peak MB",
)  # fmt: skip

Row = Mapping[str, Any]


def to_table(rows: Sequence[Row], scenario: str) -> list[str]:
    """Returns the lines of a table; a row that failed says why."""
    cells = _make_cells(rows, scenario)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        first, *others = zip(row, widths, strict=True)
        aligned = [f"{first[0]:{first[1]}}", *(f"{text:>{width}}" for text, width in others)]
        lines.append("  ".join(aligned))
    lines.extend(f"{row['model']} on {row['provider']}: {row['error']}" for row in failed(rows))
    return lines


def to_page(rows: Sequence[Row], record: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Returns a page of Markdown: table, plots, circumstances, and how to repeat it.

    Args:
        rows: As `to_row` has them.
        record: `scenario`, `command`, `settings`, `circumstances`.
        plots: Names of pictures beside the page.
    """
    scenario, told = record["scenario"], record["circumstances"]
    heads, *cells = _make_cells(rows, scenario)
    lines = [f"# boats-benchmark: {scenario}", ""]
    lines += [f"**{warning}**\n" for warning in told["warnings"]]
    lines += ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    lines += [f"| {' | '.join(row)} |" for row in cells]
    lines += [f"\n{row['model']} on {row['provider']}: {row['error']}" for row in failed(rows)]
    lines += ["", "Where the time of one photo goes, in ms:", "", *_stages(rows), ""]
    lines += [f"![{Path(name).stem}]({name})\n" for name in plots]
    libraries = told["libraries"]
    versions = [
        f"{name} {libraries[name]}"
        for name in ("boats", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
        if name in libraries
    ]
    lines += [
        f"- machine: {told['cpu']} ({', '.join(told['cpu_features'])}), {told['cores_granted']} "
        f"cores granted, {told['system']}",
        f"- versions: Python {told['python']}, {', '.join(versions)}",
        f"- when: {told['when']}, commit {told['commit'] or 'unknown'}",
        f"- load before and after: {told['load_before']}, {told['load_after']}",
        f"- digests: {_digests(rows)}",
        "- p50, p90 and p99 are of runs, with 95 % intervals; p99 only from 1,000 runs on",
        f"- repeat: `{record['command']}`",
    ]
    return "\n".join(lines) + "\n"


def failed(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that could not be measured."""
    return [row for row in rows if row["error"]]


def _make_cells(rows: Sequence[Row], scenario: str) -> list[list[str]]:
    """Returns the heads and, of each row that was measured, its cells."""
    good = [row for row in rows if not row["error"]]
    columns = list(COLUMNS)
    cells = [_cells(row) for row in good]
    if any(row["gpu_mb"] is not None for row in good):
        columns.append("GPU MB")
        for row, texts in zip(good, cells, strict=True):
            texts.append("-" if row["gpu_mb"] is None else f"{row['gpu_mb']:.0f}")
    if scenario == "server":
        columns.append("rate within bound")
        for row, texts in zip(good, cells, strict=True):
            texts.append(_rate(row["server"]))
    return [columns, *cells]


def _cells(row: Row) -> list[str]:
    return [
        Path(row["model"]).name,
        row["active_provider"] + _places(row["nodes"]),
        str(row["batch"]),
        "all" if row["threads"] is None else str(row["threads"]),
        *(_interval(row.get(name), 2) for name in ("p50_ms", "p90_ms", "p99_ms")),
        _interval(row["photos_per_second"], 1),
        f"{row['load_ms']:.0f}",
        f"{row['first_ms']:.1f}",
        f"{row['cpu_cores']:.1f}",
        "?" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}",
    ]


def _rate(server: Mapping[str, Any]) -> str:
    kept = f"{server['rate']:.1f}/s, p99 {server['p99_ms']:.0f} ms" if server["rate"] else "none"
    return f"{kept} (bound {server['bound_ms']:.0f} ms)"


def _interval(value: Mapping[str, float] | None, digits: int) -> str:
    if value is None:
        return "-"
    return "{value:.{n}f} ({low:.{n}f} to {high:.{n}f})".format(n=digits, **value)


def _places(nodes: Mapping[str, int]) -> str:
    told = ", ".join(f"{count} nodes" for count in nodes.values())
    return f" ({told})" if told else ""


def _stages(rows: Sequence[Row]) -> list[str]:
    good = [row for row in rows if not row["error"]]
    if not good:
        return []
    names = list(good[0]["stages_ms"])
    lines = ["| file | provider | threads | " + " | ".join(names) + " |"]
    lines.append("| --- | --- | ---: |" + " ---: |" * len(names))
    seen = set()
    for row in good:
        key = (row["model"], row["provider"], row["threads"])
        if key not in seen:  # stages are of one photo, whatever the batch
            seen.add(key)
            times = " | ".join(f"{row['stages_ms'][name]:.2f}" for name in names)
            threads = "all" if row["threads"] is None else row["threads"]
            lines.append(f"| {Path(row['model']).name} | {row['provider']} | {threads} | {times} |")
    return lines


def _digests(rows: Sequence[Row]) -> str:
    known = {Path(row["model"]).name: row["digest"][:12] for row in rows if not row["error"]}
    return ", ".join(f"{name} {digest}" for name, digest in known.items())
