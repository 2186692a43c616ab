"""Writers of classification results: table, JSON, JSON Lines and CSV.

The keys are described in docs/reference/json.md.
"""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import typer

from boats_runtime.prediction import Failure, Outcome
from boats_runtime.text import escape_text

SCHEMA_VERSION = 1
"""Increased when the meaning of a key changes."""

CSV_COLUMNS = (
    "path", "status", "label", "score", "unknown", "latency_ms", "provider", "model", "error",
)  # fmt: skip

FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "'")  # noqa: RUF001
"""First characters of a formula in a spreadsheet, and the apostrophe that turns it into text."""


@dataclass(frozen=True)
class ResultContext:
    """Values that all results of a call share.

    Attributes:
        provider: Execution provider that runs the model.
        model: Digest of the model file.
        threshold: Predictions with a lower score are unknown, 0 to 1.
        top: Number of classes to show.
    """

    provider: str
    model: str
    threshold: float
    top: int

    def to_json(self, outcome: Outcome) -> dict[str, Any]:
        """Return a result with the keys of the schema."""
        head = {"schema_version": SCHEMA_VERSION, "path": outcome.name}
        if isinstance(outcome, Failure):
            return head | {"status": "error", "error": str(outcome)}
        return head | {
            "status": "ok",
            "label": outcome.label,
            "score": outcome.score,
            "unknown": outcome.score < self.threshold,
            "top": [asdict(score) for score in outcome.top[: self.top]],
            "latency_ms": outcome.latency_ms,
            "provider": self.provider,
            "model": self.model,
            "threshold": self.threshold,
        }


class ResultWriter(ABC):
    """Writes results to a text stream, each as soon as it is known."""

    def __init__(self, stream: TextIO, context: ResultContext) -> None:
        self._stream = stream
        self._context = context

    @abstractmethod
    def write(self, outcome: Outcome) -> None:
        """Write one result and flush the stream."""

    def finish(self) -> None:  # noqa: B027 - most formats need no end
        """Write the end of the output; called after the last result."""

    def _write_line(self, line: str) -> None:
        typer.echo(line, self._stream)  # flushes


class TableWriter(ResultWriter):
    """Rows with the name of the image and the most probable classes.

    The first column is `width` characters wide, and wider after a longer name.
    """

    def __init__(self, stream: TextIO, context: ResultContext, width: int) -> None:
        super().__init__(stream, context)
        self._width = width

    def write(self, outcome: Outcome) -> None:
        """Write a row."""
        result = self._context.to_json(outcome)
        if result["status"] == "error":
            cells = f"error: {result['error']}"
        else:
            cells = "   ".join(f"{top['label']} {top['score']:.3f}" for top in result["top"])
            if result["unknown"]:
                cells = f"unknown: {cells}"
        name = escape_text(outcome.name)
        self._width = max(self._width, len(name))
        self._write_line(f"{name:{self._width}}   {escape_text(cells)}")


class JsonlWriter(ResultWriter):
    """One JSON object per line."""

    def write(self, outcome: Outcome) -> None:
        """Write a line."""
        self._write_line(json.dumps(self._context.to_json(outcome)))


class JsonWriter(ResultWriter):
    """One JSON object with all results, written at the end."""

    def __init__(self, stream: TextIO, context: ResultContext) -> None:
        super().__init__(stream, context)
        self._results: list[dict[str, Any]] = []

    def write(self, outcome: Outcome) -> None:
        """Keep a result until the end."""
        self._results.append(self._context.to_json(outcome))

    def finish(self) -> None:
        """Write the object."""
        content = {"schema_version": SCHEMA_VERSION, "predictions": self._results}
        self._write_line(json.dumps(content, indent=2))


class CsvWriter(ResultWriter):
    """CSV with a header; further classes have the columns `label_2`, `score_2`, `label_3`, ...

    Args:
        stream: Where to write it.
        context: Values that all results share.
        spreadsheet_safe: Whether texts that a spreadsheet would run as a formula get a leading
            apostrophe.
    """

    def __init__(
        self, stream: TextIO, context: ResultContext, *, spreadsheet_safe: bool = False
    ) -> None:
        super().__init__(stream, context)
        self._spreadsheet_safe = spreadsheet_safe
        columns = list(CSV_COLUMNS)
        for rank in range(2, context.top + 1):
            columns += [f"label_{rank}", f"score_{rank}"]
        self._csv = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
        self._csv.writeheader()

    def write(self, outcome: Outcome) -> None:
        """Write a row."""
        row = self._context.to_json(outcome)
        for rank, score in enumerate(row.get("top", ()), 1):
            row |= {f"label_{rank}": score["label"], f"score_{rank}": score["score"]}
        self._csv.writerow({key: self._format(value) for key, value in row.items()})
        self._stream.flush()

    def _format(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        # Escaped, so that no Python before 3.13 writes a carriage return without quotes.
        text = escape_text(value)
        is_formula = self._spreadsheet_safe and text.startswith(FORMULA_STARTS)
        return f"'{text}" if is_formula else text


def create_writer(
    stream: TextIO,
    context: ResultContext,
    formats: Sequence[str],
    width: int,
    spreadsheet_safe: bool,
) -> ResultWriter:
    """Return the writer of `--json`, `--jsonl` or `--csv`; of a table without these options.

    Args:
        stream: Where to write.
        context: Values that all results share.
        formats: The option, or none.
        width: Width of the first column of a table.
        spreadsheet_safe: As in `CsvWriter`.
    """
    if not formats:
        return TableWriter(stream, context, width)
    if formats[0] == "--csv":
        return CsvWriter(stream, context, spreadsheet_safe=spreadsheet_safe)
    return (JsonWriter if formats[0] == "--json" else JsonlWriter)(stream, context)
