"""`boats-predict IMAGE...`: classify images with an exported model."""

import gc
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from boats_runtime.cli.app import Log, create_app, create_log, run_app
from boats_runtime.cli.command import Command
from boats_runtime.errors import ImageError, UsageError
from boats_runtime.progress import track
from boats_runtime.text import escape_text

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier
    from boats_runtime.cli.results import ResultWriter
    from boats_runtime.prediction import Outcome

COMMAND = "boats-predict"
DEFAULT_MODEL = Path("boats.onnx")
JOURNAL = ".boats-watch.jsonl"

MODEL_GROUP = "Model"
OUTPUT_GROUP = "Output"
WATCH_GROUP = "Folder that a camera fills"

EXAMPLES = """
boats-predict image.jpg --top 3
boats-predict 'images/*.jpg' --csv > results.csv
boats-predict images/ --output results.jsonl --resume
boats-predict --watch landing/ >> results.jsonl
curl -L https://example.com/image.jpg | boats-predict -
"""

app = create_app(COMMAND)


@app.command(cls=Command, epilog=EXAMPLES)
def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="Images, folders, patterns, @LIST, or - for an image on standard input.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="Exported model.",
            envvar="BOATS_MODEL",
            show_default="./boats.onnx",
            rich_help_panel=MODEL_GROUP,
        ),
    ] = None,
    provider: Annotated[
        str,
        typer.Option(
            help="auto, cpu, cuda, tensorrt, ...; only auto selects another provider.",
            rich_help_panel=MODEL_GROUP,
        ),
    ] = "auto",
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="For a model that is not trusted: stop after this time, and limit the memory.",
            rich_help_panel=MODEL_GROUP,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Images with a lower score are reported as unknown.",
            show_default="from the model",
            rich_help_panel=MODEL_GROUP,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(min=1, help="Number of classes to show.", rich_help_panel=OUTPUT_GROUP),
    ] = 1,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object.", rich_help_panel=OUTPUT_GROUP),
    ] = False,
    jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl", help="Print one JSON object per line.", rich_help_panel=OUTPUT_GROUP
        ),
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV.", rich_help_panel=OUTPUT_GROUP)
    ] = False,
    spreadsheet_safe: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe",
            help="With --csv: put an apostrophe before names that a spreadsheet would run.",
            rich_help_panel=OUTPUT_GROUP,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write one JSON object per line to this file.", rich_help_panel=OUTPUT_GROUP
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue --output: skip the images that it lists, but retry those that failed.",
            rich_help_panel=OUTPUT_GROUP,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print results and errors only.", rich_help_panel=OUTPUT_GROUP
        ),
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(
            help="Classify new images in this folder; print one JSON object per line.",
            rich_help_panel=WATCH_GROUP,
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="File in which --watch records the classified images.",
            show_default="DIR/.boats-watch.jsonl",
            rich_help_panel=WATCH_GROUP,
        ),
    ] = None,
) -> None:
    """Classify images and print the most probable classes with their probabilities."""
    images = images or []
    options = {"--json": json, "--jsonl": jsonl, "--csv": csv, "--output": output}
    formats = [name for name, value in options.items() if value]
    _check_usage(images, formats, output, resume, watch, journal, spreadsheet_safe)
    if model is None and not DEFAULT_MODEL.is_file():
        raise UsageError(
            f"no {DEFAULT_MODEL} in {Path.cwd()}: give --model FILE or set BOATS_MODEL, "
            "or create one with boats-train and boats-export --format onnx"
        )
    if timeout is not None:
        from boats_runtime.cli.limits import continue_in_child

        if watch is not None:
            raise UsageError("--timeout and --watch exclude each other: --watch does not end")
        provider = continue_in_child(timeout, provider)
    log = create_log(COMMAND, quiet=quiet)
    classifier = _open_classifier(model or DEFAULT_MODEL, provider, images, log)
    from boats_runtime.cli import results
    from boats_runtime.cli.inputs import find_inputs

    if threshold is None:
        threshold = classifier.metadata.threshold or 0.0
    top = min(top, len(classifier.labels))
    context = results.ResultContext(classifier.provider, classifier.metadata.digest, threshold, top)
    if watch is not None:
        from boats_runtime.cli.watch import FolderWatcher, Journal, classify_new_images

        classifier.warm_up()
        watcher = FolderWatcher(watch, Journal(journal or watch / JOURNAL))
        log(f"watching {watch}")
        classify_new_images(classifier, watcher, results.JsonlWriter(sys.stdout, context))
    inputs = find_inputs(images)
    if output is not None:
        from boats_runtime.cli.results_file import ResultsFile

        with ResultsFile(output, context, resume=resume) as file:
            outcomes = classifier.predict_many(file.select_remaining(inputs))
            for outcome in outcomes if quiet else track(outcomes, "images"):
                file.write(outcome)
            file.finish(images)
        skipped = f", {file.skipped} skipped" if file.skipped else ""
        log(f"{output}: {file.written} images{skipped}")
        total, failed = file.total, file.failed
    else:
        width = max(len(escape_text(name)) for name in images)
        writer = results.create_writer(sys.stdout, context, formats, width, spreadsheet_safe)
        outcomes = classifier.predict_many(inputs)
        if not (quiet or sys.stdout.isatty()):
            outcomes = track(outcomes, "images")
        total, failed = _write_all(outcomes, writer)
    if failed:
        raise ImageError(f"{failed} of {total} images could not be classified")


def _open_classifier(model: Path, provider: str, images: list[str], log: Log) -> "Classifier":
    gc.disable()  # imports create many objects but no garbage
    try:
        from boats_runtime.classifier import Classifier
        from boats_runtime.cli.inputs import names_one_image

        # Spinning threads take CPU time from decoding and from other programs.
        spin = len(images) == 1 and names_one_image(images[0])
        classifier = Classifier(model, provider, spin=spin)
    finally:
        gc.freeze()
        gc.enable()
    if provider == "auto":
        log(f"on {classifier.provider}: {classifier.selection_reason}")
    if classifier.compatibility_warning:
        log(classifier.compatibility_warning)
    return classifier


def _check_usage(
    images: list[str],
    formats: list[str],
    output: Path | None,
    resume: bool,
    watch: Path | None,
    journal: Path | None,
    spreadsheet_safe: bool,
) -> None:
    if spreadsheet_safe and formats != ["--csv"]:
        raise UsageError("--spreadsheet-safe requires --csv")
    if journal is not None and watch is None:
        raise UsageError("--journal requires --watch DIR")
    if bool(images) == (watch is not None):
        raise UsageError("give either images (IMAGE...) or a folder to watch (--watch DIR)")
    if len(formats) > 1:
        raise UsageError(f"{' and '.join(formats)} exclude each other: choose one")
    if resume and output is None:
        raise UsageError("--resume requires --output FILE")
    if output is not None and output.suffix.lower() == ".csv":
        raise UsageError(
            f"--output {output}: the file has JSON lines, name it {output.with_suffix('.jsonl')}; "
            f"for CSV use --csv > {output}"
        )
    if watch is not None and formats not in ([], ["--jsonl"]):
        raise UsageError(f"--watch prints JSON lines and excludes {formats[0]}")
    if watch is not None and not watch.is_dir():
        raise UsageError(f"--watch {watch}: folder does not exist")


def _write_all(outcomes: "Iterable[Outcome]", writer: "ResultWriter") -> tuple[int, int]:
    """Write results as they arrive; return their number and that of failures."""
    total = failed = 0
    for outcome in outcomes:
        total += 1
        failed += isinstance(outcome, Exception)
        writer.write(outcome)
    writer.finish()
    return total, failed


def main() -> NoReturn:
    """Run `boats-predict`."""
    run_app(app, COMMAND)
