"""Format the report of a check as text or JSON."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from boats_data.check.checks import Report
from boats_data.check.findings import format_count

SCHEMA_VERSION = 1
MAX_EXAMPLES = 5
"""Number of examples printed for a finding."""

MAX_ROWS = 12
"""Largest number of rows in a table of formats or groups."""

_WRAPPER = textwrap.TextWrapper(
    100, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
)


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values. `schema_version` increases if a key changes its meaning."""
    return {
        "schema_version": SCHEMA_VERSION,
        "data": str(report.root),
        "photos": report.images,
        "classes": {
            label: {split: counts[split] for split in report.splits}
            for label, counts in report.classes.items()
        },
        "images": [
            {"format": format_, "mode": mode, "width": width, "height": height, "photos": count}
            for (format_, mode, width, height), count in report.formats.most_common()
        ],
        "groups": {
            split: dict(sorted(counts.items())) for split, counts in report.groups.counts.items()
        },
        "findings": [asdict(finding) for finding in report.findings],
    }


def to_lines(report: Report) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{report.root}: {report.images:,} images of {len(report.classes)} classes"
    yield ""
    yield from _count_table("class", report.splits, report.classes)
    yield ""
    yield from _format_table(report.formats)
    counts = report.groups.counts
    names = sorted(set().union(*counts.values()))
    if names:
        yield ""
        rows = {name: Counter({split: counts[split][name] for split in counts}) for name in names}
        yield from _count_table(report.groups.noun, report.splits, rows, MAX_ROWS)
    yield ""
    yield format_count(len(report.findings), "finding") if report.findings else "No findings."
    for finding in report.findings:
        yield ""
        yield from _WRAPPER.wrap(f"{finding.severity}: {finding.code}: {finding.message}")
        for example in finding.examples[:MAX_EXAMPLES]:
            yield f"    {example}"
        hidden = len(finding.examples) + finding.more - MAX_EXAMPLES
        if hidden > 0:
            yield f"    and {hidden:,} more"
        yield from _WRAPPER.wrap(f"  {finding.advice}")


def _count_table(
    title: str, splits: tuple[str, ...], rows: dict[str, Counter[str]], limit: int | None = None
) -> Iterator[str]:
    width = max(len(name) for name in (title, "all", *rows))
    yield f"{title:{width}}" + "".join(f"  {split:>7}" for split in splits)
    for name, counts in list(rows.items())[:limit]:
        yield f"{name:{width}}" + "".join(f"  {counts[split]:7,}" for split in splits)
    if limit is not None and len(rows) > limit:
        yield f"... {len(rows) - limit:,} more"
    total = sum(rows.values(), Counter())
    yield f"{'all':{width}}" + "".join(f"  {total[split]:7,}" for split in splits)


def _format_table(formats: Counter[tuple[str, str, int, int]]) -> Iterator[str]:
    yield "size        mode  format   images"
    for (format_, mode, width, height), count in formats.most_common(MAX_ROWS):
        yield f"{f'{width}x{height}':10}  {mode:4}  {format_:6}  {count:7,}"
    if len(formats) > MAX_ROWS:
        yield f"... {len(formats) - MAX_ROWS:,} more sizes, modes and formats"
