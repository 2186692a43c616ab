"""What became of each photo, for people and for programs.

The schema of `--json` and `--jsonl`; its version rises when a key changes its meaning.

    schema_version   1
    path             as given or found; `-` for standard input
    status           `ok` or `error`
    error            why, where the status says so; the keys below are then missing
    label            the likeliest class
    score            its probability, 0 to 1
    unknown          whether the score is under the threshold
    top              the likeliest classes, `label` and `score` each
    latency_ms       from pixels to probabilities, without decoding
    provider         that ran the model
    model            the digest of the model file, as `boats-export inspect` prints it
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boats_runtime.classifier import Prediction
from boats_runtime.errors import ImageError

SCHEMA_VERSION = 1

CSV_COLUMNS = (
    "path", "status", "label", "score", "unknown", "latency_ms", "provider", "model", "error",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One photo's outcome.

    Attributes:
        name: Of the photo.
        prediction: What the model says; None where there is an error.
        error: Why there is none; else empty.
    """

    name: str
    prediction: Prediction | None = None
    error: str = ""


@dataclass(frozen=True)
class Context:
    """What all results of a call have in common.

    Attributes:
        provider: That runs the model.
        model: The digest of the model file.
        threshold: Scores under it are called unknown, 0 to 1.
        top: How many classes are shown.
    """

    provider: str
    model: str
    threshold: float
    top: int

    def is_unknown(self, prediction: Prediction) -> bool:
        """Says whether a score is under the threshold."""
        return prediction.score < self.threshold


def to_result(name: str, outcome: Prediction | ImageError) -> Result:
    """Returns what became of the photo of that name."""
    if isinstance(outcome, ImageError):
        return Result(name, error=str(outcome))
    return Result(name, outcome)


def to_json(result: Result, context: Context) -> dict[str, Any]:
    """Returns a result in the schema above."""
    prediction = result.prediction
    if prediction is None:
        outcome: Mapping[str, Any] = {"status": "error", "error": result.error}
    else:
        outcome = {
            "status": "ok",
            "label": prediction.label,
            "score": prediction.score,
            "unknown": context.is_unknown(prediction),
            "top": [
                {"label": score.label, "score": score.score}
                for score in prediction.top[: context.top]
            ],
            "latency_ms": prediction.latency_ms,
            "provider": context.provider,
            "model": context.model,
        }
    return {"schema_version": SCHEMA_VERSION, "path": result.name, **outcome}


def to_csv(result: Result | None, context: Context) -> str:
    """Returns a result as a row, or the row of the columns' names for None."""
    line = io.StringIO()
    writer = csv.DictWriter(line, CSV_COLUMNS, lineterminator="", extrasaction="ignore")
    if result is None:
        writer.writeheader()
    else:
        writer.writerow(to_json(result, context))
    return line.getvalue()


def to_row(result: Result, context: Context, width: int) -> str:
    """Returns a result as a row of the table: the name, then the likeliest classes."""
    prediction = result.prediction
    if prediction is None:
        cells = f"error: {result.error}"
    else:
        cells = "   ".join(
            f"{score.label} {score.score:.3f}" for score in prediction.top[: context.top]
        )
        if context.is_unknown(prediction):
            cells = f"unknown: {cells}"
    return f"{result.name:{width}}   {cells}"
