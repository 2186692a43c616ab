"""Writers of classification results: table, JSON, JSON Lines and CSV.

The keys are described in docs/reference/json.md.
"""

import csv
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, TextIO

import typer

from boats_runtime.prediction import Failure, Outcome

SCHEMA_VERSION = 1
"""Increased when the meaning of a key changes."""

CSV_COLUMNS = (
    "path", "status", "label", "score", "unknown", "latency_ms", "provider", "model", "error",
)  # fmt: skip


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
        self._width = max(self._width, len(outcome.name))
        self._write_line(f"{outcome.name:{self._width}}   {cells}")


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
    """CSV with a header; further classes have the columns `label_2`, `score_2`, `label_3`, ..."""

    def __init__(self, stream: TextIO, context: ResultContext) -> None:
        super().__init__(stream, context)
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
        self._csv.writerow(row)
        self._stream.flush()


WRITERS: dict[str, type[ResultWriter]] = {
    "--json": JsonWriter,
    "--jsonl": JsonlWriter,
    "--csv": CsvWriter,
}
