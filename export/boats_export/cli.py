"""`boats-export`: export a run folder as one verified ONNX file, or inspect such a file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from boats_runtime.cli.app import (
    create_app,
    create_log,
    print_lines,
    require_extra,
    run_app,
    set_passive_openmp,
)
from boats_runtime.cli.command import Command
from boats_runtime.errors import UsageError
from boats_runtime.files import write_atomic
from boats_runtime.providers.wheels import import_onnxruntime

COMMAND = "boats-export"
DEFAULT = "export"
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


class ExportGroup(TyperGroup):
    """Command group that runs `export`, unless the first argument is another subcommand.

    `export` then takes the place of the group: in the usage line and the environment variables, its
    name does not occur.
    """

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Parse the command line of the group, or of `export` in its place."""
        if args and args[0] != DEFAULT and args[0] in self.commands:
            return super().make_context(info_name, args, parent, **extra)
        settings = {**self.context_settings, **extra}
        command = self.commands[DEFAULT]
        command.params += [option for option in self.params if option not in command.params]
        return command.make_context(info_name, args, parent, **settings)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `make_context` has chosen."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


EXAMPLES = """
boats-export
boats-export runs/latest --precision int8 --out int8.onnx
boats-export inspect boats.onnx    # verifies a file and prints its metadata
"""

app = create_app(COMMAND)
app.info.cls = ExportGroup
log = create_log(COMMAND)


@app.command(DEFAULT, cls=Command, epilog=EXAMPLES)
def export(
    run: Annotated[
        Path, typer.Argument(help="Run folder of boats-train, or a folder of runs: its latest run.")
    ] = Path("runs/latest"),
    file_format: Annotated[Literal["onnx"], typer.Option("--format", help="File format.")] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="fp32; fp16 for CUDA; int8, smaller and faster on CPUs."),
    ] = "fp32",
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("boats.onnx"),
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset to verify on.", show_default="the one trained on"),
    ] = None,
    opset: Annotated[Literal["18", "19", "20"], typer.Option(help="ONNX opset.")] = "18",
    batch: Annotated[
        str, typer.Option(help="Batch size of the file: dynamic, or a fixed number.")
    ] = "dynamic",
    with_features: Annotated[
        bool, typer.Option("--with-features", help="Add the features as an output.")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            metavar="N",
            help="fp16, int8: largest loss, N points of accuracy and 2N of macro-F1.",
            show_default="0.5",
        ),
    ] = None,
    allow_lost_classes: Annotated[
        bool,
        typer.Option(
            "--allow-lost-classes",
            help="fp16, int8: accept that a class is no longer recognized at all.",
        ),
    ] = False,
    target: Annotated[
        Literal["auto", "vnni", "any"],
        typer.Option(
            help="int8: CPUs with exact 8-bit sums, or any CPU.", show_default="as this CPU"
        ),
    ] = "auto",
    backbone: Annotated[
        str,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="Your own code that the run was trained with; it is imported.",
            show_default=False,
        ),
    ] = "",
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card next to the file.")
    ] = False,
) -> None:
    """Export a run as one ONNX file, verified against the run before it appears."""
    del file_format  # there is only one
    require_extra(COMMAND, "export", MODULES)
    import_onnxruntime()
    if not out.parent.is_dir() or out.is_dir():
        raise UsageError(f"--out {out}: must be a file in an existing folder")
    if precision == "fp32" and max_drop is not None:
        raise UsageError("--max-drop is for --precision fp16 or int8: fp32 loses nothing")
    if precision == "fp32" and allow_lost_classes:
        raise UsageError("--allow-lost-classes is for --precision fp16 or int8: fp32 loses nothing")
    if precision != "int8" and target != "auto":
        raise UsageError("--target is for --precision int8")
    from boats_export.assemble import Layout
    from boats_export.export import Exporter, ExportSettings
    from boats_runtime.model.describe import create_card, format_proof
    from boats_train.runs.run import find_run, load_run

    layout = Layout(int(opset), parse_batch(batch), with_features)
    run = find_run(run)
    trained = load_run(run, backbone)
    log(
        f"{run}: {trained.config.model} on {trained.config.backbone}, "
        f"{len(trained.classes)} classes"
    )
    settings = ExportSettings(precision, layout, max_drop, target, allow_lost_classes)
    metadata = Exporter(trained, settings, log, data).export(out)
    print_lines(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {precision}; verified:")
    for line in format_proof(metadata):
        typer.echo(line)
    if card:
        card_path = out.with_suffix(".md")
        write_atomic(card_path, create_card(out, metadata).encode())
        print_lines(f"model card: {card_path}")


@app.command(cls=Command, epilog="boats-export inspect boats.onnx")
def inspect(
    file: Annotated[Path, typer.Argument(help="File of boats-export.")] = Path("boats.onnx"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the metadata as JSON.")] = False,
) -> None:
    """Verify an exported file against its digest and print its metadata."""
    from boats_runtime.model.describe import describe_model, inspect_file

    metadata = inspect_file(file)
    if as_json:
        typer.echo(json.dumps({"file": str(file)} | asdict(metadata), indent=2))
        return
    for line in describe_model(file, metadata):
        typer.echo(line)


def parse_batch(text: str) -> int | None:
    """Return the value of `--batch`; None for `dynamic`.

    Raises:
        UsageError: If it is neither `dynamic` nor a number from 1 to 1024.
    """
    if text == "dynamic":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(f"--batch {text}: must be dynamic, or 1 to 1024")
    return int(text)


def main() -> NoReturn:
    """Run `boats-export`."""
    set_passive_openmp()
    run_app(app, COMMAND)
