"""`boats-predict IMAGE...`: label and score of photos, without PyTorch."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from boats_runtime import command
from boats_runtime.errors import ImageError, UsageError

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier, Prediction

COMMAND = "boats-predict"
DEFAULT_MODEL = Path("boats.onnx")
SCHEMA_VERSION = 1

app = command.new_app(COMMAND)


@dataclass(frozen=True)
class Item:
    """One photo's outcome: a prediction, or why there is none."""

    path: Path
    prediction: "Prediction | None" = None
    error: str = ""


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photos to classify.")],
    model: Annotated[
        Path | None,
        typer.Option(help="The exported file.", envvar="BOATS_MODEL", show_default="./boats.onnx"),
    ] = None,
    provider: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="Where to run; an explicit one never falls back."),
    ] = "auto",
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is in each photo, and how sure the model is."""
    path = find_model(model)
    from boats_runtime.classifier import Classifier

    classifier = Classifier(path, provider)
    if provider == "auto":
        note = f"{COMMAND}: on {classifier.provider}: {classifier.provider_reason}"
        print(note, file=sys.stderr)  # noqa: T201
    items = classify(classifier, images)
    if as_json:
        typer.echo(json.dumps(to_json(items, classifier, path, top), indent=2))
    else:
        for line in to_table(items, top):
            typer.echo(line)
    failed = sum(1 for item in items if item.prediction is None)
    if failed:
        raise ImageError(f"{failed} of {len(items)} photos could not be read")


def find_model(model: Path | None) -> Path:
    """Finds the model file: as asked for, else `boats.onnx` in this folder.

    Raises:
        UsageError: Neither is there; says what to do.
    """
    if model is not None:
        return model
    if DEFAULT_MODEL.is_file():
        return DEFAULT_MODEL
    raise UsageError(
        f"no {DEFAULT_MODEL} in {Path.cwd()}: give --model FILE or set BOATS_MODEL, "
        "or make one with boats-train and boats-export --format onnx"
    )


def classify(classifier: "Classifier", images: Sequence[Path]) -> list[Item]:
    """Classifies every photo that can be; the others keep their reason."""
    items = []
    for path in images:
        try:
            items.append(Item(path, classifier.predict(path)))
        except ImageError as error:
            items.append(Item(path, error=str(error)))
    return items


def to_json(
    items: Sequence[Item], classifier: "Classifier", model: Path, top: int
) -> dict[str, Any]:
    """Returns the result as JSON values; `schema_version` rises when a key changes its meaning."""
    return {
        "schema_version": SCHEMA_VERSION,
        "model": os.fspath(model),
        "provider": classifier.provider,
        "predictions": [_item_to_json(item, top) for item in items],
    }


def to_table(items: Sequence[Item], top: int) -> list[str]:
    """Returns the lines of a table: one a photo, with its likeliest classes."""
    width = max(len(str(item.path)) for item in items)
    lines = []
    for item in items:
        if item.prediction is None:
            cells = f"error: {item.error}"
        else:
            cells = "   ".join(
                f"{score.label} {score.score:.3f}" for score in item.prediction.top[:top]
            )
        lines.append(f"{item.path!s:{width}}   {cells}")
    return lines


def main() -> NoReturn:
    """Runs `boats-predict`."""
    command.run(app, COMMAND)


def _item_to_json(item: Item, top: int) -> dict[str, Any]:
    prediction = item.prediction
    if prediction is None:
        return {"path": str(item.path), "status": "error", "error": item.error}
    return {
        "path": str(item.path),
        "status": "ok",
        "label": prediction.label,
        "score": prediction.score,
        "top": [{"label": score.label, "score": score.score} for score in prediction.top[:top]],
        "latency_ms": prediction.latency_ms,
    }
