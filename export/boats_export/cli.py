"""`boats-export`: a run folder in, one verified ONNX file out; `boats-export inspect` reads one."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, require_extra, run_app, wait_passively
from boats_runtime.errors import UsageError
from boats_runtime.files import write_atomic
from boats_runtime.providers.wheels import import_onnxruntime

COMMAND = "boats-export"
INSPECT = "inspect"
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

app = create_app(COMMAND)
log = create_log(COMMAND)
inspection = create_app(f"{COMMAND}-{INSPECT}")


@app.command(epilog="boats-export inspect FILE prints what a file says of itself, and checks it.")
def export(
    run: Annotated[Path, typer.Argument(help="A run folder of boats-train.")] = Path("runs/latest"),
    file_format: Annotated[Literal["onnx"], typer.Option("--format", help="File format.")] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="fp32; fp16 for CUDA; int8, smaller and quicker on CPUs."),
    ] = "fp32",
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("boats.onnx"),
    data: Annotated[
        Path | None,
        typer.Option(help="Picture set to verify on.", show_default="the one trained on"),
    ] = None,
    opset: Annotated[Literal["18", "19", "20"], typer.Option(help="ONNX opset.")] = "18",
    batch: Annotated[
        str, typer.Option(help="Photos at once: dynamic, or a number that the file is fixed to.")
    ] = "dynamic",
    with_features: Annotated[
        bool, typer.Option("--with-features", help="Give the features as an output too.")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="fp16, int8: points of accuracy that may be lost, and half those of macro-F1.",
            show_default="0.5, and no class",
        ),
    ] = None,
    target: Annotated[
        Literal["auto", "vnni", "any"],
        typer.Option(
            help="int8: CPUs with exact 8-bit sums, or any CPU.", show_default="as this CPU"
        ),
    ] = "auto",
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card beside the file.")
    ] = False,
) -> None:
    """Write a run as one ONNX file, once it is proved to do what the run does."""
    del file_format  # there is one
    require_extra(COMMAND, "export", MODULES)
    import_onnxruntime()
    if not out.parent.is_dir() or out.is_dir():
        raise UsageError(f"--out {out}: must be a file in a folder that exists")
    if precision == "fp32" and max_drop is not None:
        raise UsageError("--max-drop is for --precision fp16 or int8: fp32 loses nothing")
    if precision != "int8" and target != "auto":
        raise UsageError("--target is for --precision int8")
    from boats_export.assemble import Layout
    from boats_export.export import Settings, export_run
    from boats_export.verification_images import load_verification_images
    from boats_runtime.model.describe import proof_table, to_card
    from boats_train.runs.run import load_run

    layout = Layout(int(opset), parse_batch(batch), with_features)
    trained = load_run(run)
    log(
        f"{run}: {trained.config.model} on {trained.config.backbone}, "
        f"{len(trained.classes)} classes"
    )
    valid = load_verification_images(trained, data, "valid")
    train = load_verification_images(trained, data, "train") if precision == "int8" else None
    settings = Settings(precision, layout, max_drop, target)
    metadata = export_run(trained, out, valid, train, settings, log)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {precision}; proved:")
    for line in proof_table(metadata):
        typer.echo(line)
    if card:
        place = out.with_suffix(".md")
        write_atomic(place, to_card(out, metadata).encode())
        typer.echo(f"model card: {place}")


@inspection.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A file of boats-export.")] = Path("boats.onnx"),
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Print what an exported file says of itself, and check it against its own digest."""
    require_extra(COMMAND, "export", ("onnx",))
    from boats_runtime.model.describe import inspect_file, to_lines

    metadata = inspect_file(file)
    if as_json:
        typer.echo(json.dumps({"file": str(file)} | asdict(metadata), indent=2))
        return
    for line in to_lines(file, metadata):
        typer.echo(line)


def parse_batch(text: str) -> int | None:
    """Reads `--batch`: None for `dynamic`.

    Raises:
        UsageError: It is neither that nor a number from 1 to 1024.
    """
    if text == "dynamic":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"--batch {text}: must be dynamic, or 1 to 1024")
    return int(text)


def main() -> NoReturn:
    """Runs `boats-export`."""
    wait_passively()
    if sys.argv[1:2] == [INSPECT]:
        del sys.argv[1]
        run_app(inspection, f"{COMMAND} {INSPECT}")
    run_app(app, COMMAND)
