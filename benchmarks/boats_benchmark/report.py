"""Report of a benchmark: a table for the terminal, a Markdown page and JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from boats_benchmark.timing import Estimate
from boats_runtime.files import write_atomic
from boats_runtime.text import escape_text

COLUMNS = (
    "file", "provider", "batch", "threads", "p50 ms", "p90 ms", "p99 ms", "images/s",
    "load ms", "first ms", "cores", "peak MB",
)  # fmt: skip

ResultJson = Mapping[str, Any]
"""A `CombinationResult` as JSON values."""


def format_table(results: Sequence[ResultJson], scenario: str) -> list[str]:
    """Return the lines of a table, and a line for each combination that failed."""
    cells = _make_cells(results, scenario)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *padded]))
    return lines + _format_errors(results)


def format_page(record: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Return a Markdown page with the table, the plots, the environment and the command.

    Args:
        record: Content of `results.json`.
        plots: File names of the plots.
    """
    scenario, results, environment = record["scenario"], record["rows"], record["circumstances"]
    header, *cells = _make_cells(results, scenario)
    libraries = environment["libraries"]
    versions = [
        f"{name} {libraries[name]}"
        for name in ("boats", "onnxruntime", "onnxruntime-gpu", "numpy", "pillow")
        if name in libraries
    ]
    lines = [
        f"# boats-benchmark: {scenario}",
        "",
        *(f"**{escape_text(warning)}**\n" for warning in environment["warnings"]),
        format_markdown(header, cells),
        *(f"\n{line}" for line in _format_errors(results)),
        "",
        "Duration of each stage for one image, in ms:",
        "",
        _format_stages(results),
        "",
        *(f"![{Path(name).stem}]({name})\n" for name in plots),
        f"- machine: {environment['cpu']} ({', '.join(environment['cpu_features'])}), "
        f"{environment['cores_granted']} available cores, {environment['system']}",
        f"- versions: Python {environment['python']}, {', '.join(versions)}",
        f"- date: {environment['when']}, commit {environment['commit'] or 'unknown'}",
        f"- load average: {environment['load_before']} before, {environment['load_after']} after",
        f"- digests: {_format_digests(results)}",
        "- p50, p90 and p99 are percentiles of the runs with 95% intervals; p99 needs 1,000 runs",
        escape_text(f"- command: `{record['command']}`"),
    ]
    return "\n".join(lines) + "\n"


def format_markdown(
    header: Sequence[str], rows: Iterable[Sequence[object]], text_columns: int = 1
) -> str:
    """Return a Markdown table whose columns after the first `text_columns` are right-aligned."""
    alignment = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    lines = [[str(cell).replace("|", r"\|") for cell in row] for row in (header, alignment, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON to a file atomically, and create its folder.

    Raises:
        ValueError: If a number is not finite.
        OutputError: If the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(content, allow_nan=False) + "\n").encode())


def show_name(model: str) -> str:
    """Return the file name of a model, with control characters escaped."""
    return escape_text(Path(model).name)


def select_successful(results: Sequence[ResultJson]) -> list[ResultJson]:
    """Return the combinations that were measured."""
    return [result for result in results if not result["error"]]


def _format_errors(results: Sequence[ResultJson]) -> list[str]:
    return [
        escape_text(f"{result['model']} on {result['provider']}: {result['error']}")
        for result in results
        if result["error"]
    ]


def _make_cells(results: Sequence[ResultJson], scenario: str) -> list[list[str]]:
    """Return the header and the cells of each combination that was measured."""
    measured = select_successful(results)
    header = list(COLUMNS)
    rows = [_make_row(result) for result in measured]
    if any(result["gpu_mb"] is not None for result in measured):
        header.append("GPU MB")
        for result, row in zip(measured, rows, strict=True):
            row.append(_format_megabytes(result["gpu_mb"]))
    if scenario == "server":
        header.append("rate within bound")
        for result, row in zip(measured, rows, strict=True):
            row.append(_format_server(result["server"]))
    return [header, *rows]


def _make_row(result: ResultJson) -> list[str]:
    nodes = ", ".join(f"{count} nodes" for count in result["nodes"].values())
    return [
        show_name(result["model"]),
        result["active_provider"] + (f" ({nodes})" if nodes else ""),
        str(result["batch"]),
        "all" if result["threads"] is None else str(result["threads"]),
        *(_format_estimate(result.get(name), 2) for name in ("p50_ms", "p90_ms", "p99_ms")),
        _format_estimate(result["photos_per_second"], 1),
        f"{result['load_ms']:.0f}",
        f"{result['first_ms']:.1f}",
        f"{result['cpu_cores']:.1f}",
        _format_megabytes(result["peak_mb"]),
    ]


def _format_estimate(value: Mapping[str, float] | None, digits: int) -> str:
    return "-" if value is None else Estimate(**value).format(digits)


def _format_megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _format_server(server: Mapping[str, Any]) -> str:
    parts = ["none"]
    if server["rate"]:
        parts = [f"{server['rate']:.1f}/s", f"{server['late']} of {server['images']:,} images late"]
    if server["p99_ms"] is not None:
        parts.append(f"p99 {server['p99_ms']:.0f} ms")
    return f"{', '.join(parts)} (bound {server['bound_ms']:.0f} ms)"


def _format_stages(results: Sequence[ResultJson]) -> str:
    distinct: dict[tuple[str, str, int | None], ResultJson] = {}
    for result in select_successful(results):
        # The stages are those of one image, so batch sizes do not matter.
        distinct.setdefault((result["model"], result["provider"], result["threads"]), result)
    stages = next((list(result["stages_ms"]) for result in distinct.values()), [])
    rows = [
        [show_name(model), provider, threads or "all"]
        + [f"{result['stages_ms'][stage]:.2f}" for stage in stages]
        for (model, provider, threads), result in distinct.items()
    ]
    return format_markdown(["file", "provider", "threads", *stages], rows, text_columns=2)


def _format_digests(results: Sequence[ResultJson]) -> str:
    digests = {
        show_name(result["model"]): result["digest"][:12] for result in select_successful(results)
    }
    return ", ".join(f"{name} {digest}" for name, digest in digests.items())
