"""`boats-export`: a run folder in, one verified ONNX file out."""

import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from boats_runtime import command
from boats_runtime.errors import UsageError
from boats_runtime.providers import import_onnxruntime

COMMAND = "boats-export"
MODULES = (
    "torch",
    "torchvision",
    "sklearn",
    "skops",
    "safetensors",
    "onnx",
    "onnxscript",
    "skl2onnx",
)

app = command.new_app(COMMAND)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder of boats-train.")] = Path("runs/latest"),
    file_format: Annotated[Literal["onnx"], typer.Option("--format", help="File format.")] = "onnx",
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("boats.onnx"),
    data: Annotated[
        Path | None,
        typer.Option(help="Picture set to verify on.", show_default="the one trained on"),
    ] = None,
) -> None:
    """Write a run as one ONNX file, once it is proved to do what the run does."""
    del file_format  # there is one
    command.require_extra(COMMAND, "export", MODULES)
    import_onnxruntime()
    if not out.parent.is_dir() or out.is_dir():
        raise UsageError(f"--out {out}: must be a file in a folder that exists")
    from boats_export.export import export_run
    from boats_export.verify import find_photos
    from boats_train.run import load_run

    trained = load_run(run)
    log(
        f"{run}: {trained.config.model} on {trained.config.backbone}, "
        f"{len(trained.classes)} classes"
    )
    parity = export_run(trained, out, find_photos(trained, data), log)
    typer.echo(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; same label as PyTorch and scikit-learn on "
        f"{parity.labels_equal} of {parity.photos} photos, probabilities within "
        f"{parity.largest_difference:.1e}"
    )


def log(line: str) -> None:
    """Prints a line about what goes on to stderr."""
    print(f"{COMMAND}: {line}", file=sys.stderr)  # noqa: T201


def main() -> NoReturn:
    """Runs `boats-export`."""
    command.wait_passively()
    command.run(app, COMMAND)
