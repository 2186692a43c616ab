"""`boats-predict IMAGE...`: classify images with an exported model.

Spin-waiting is enabled for single-image calls only: in all others the threads of the model share
the CPU with decoding or with other programs.
"""

import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, pause_garbage_collection, run_app
from boats_runtime.errors import ImageError, UsageError
from boats_runtime.progress import track

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier
    from boats_runtime.cli.results import ResultContext, ResultWriter
    from boats_runtime.prediction import Failure, ImageInput, Outcome

COMMAND = "boats-predict"
DEFAULT_MODEL = Path("boats.onnx")
JOURNAL = ".boats-watch.jsonl"

app = create_app(COMMAND)
log = create_log(COMMAND)


@app.command()
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
        typer.Option(help="Exported model.", envvar="BOATS_MODEL", show_default="./boats.onnx"),
    ] = None,
    provider: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda, tensorrt, ...; only auto selects another provider."),
    ] = "auto",
    top: Annotated[int, typer.Option(min=1, help="Number of classes to show.")] = 1,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Images with a lower score are reported as unknown.",
            show_default="from the model",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_PREDICT_JSON", help="Print one JSON object.")
    ] = False,
    as_jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl", envvar="BOATS_PREDICT_JSONL", help="Print one JSON object per line."
        ),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", envvar="BOATS_PREDICT_CSV", help="Print CSV.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write one JSON object per line to this file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue --output: skip the images that it lists.")
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(help="Classify new images in this folder; print one JSON object per line."),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="File in which --watch records the classified images.",
            show_default="DIR/.boats-watch.jsonl",
        ),
    ] = None,
) -> None:
    """Classify images and print the most probable classes with their probabilities."""
    images = images or []
    formats = {"--json": as_json, "--jsonl": as_jsonl, "--csv": as_csv, "--output": output}
    check_usage(images, [name for name, value in formats.items() if value], resume, watch, journal)
    path = find_model(model)
    is_single = len(images) == 1 and not Path(images[0]).is_dir() and images[0][0] != "@"
    with pause_garbage_collection():
        from boats_runtime.classifier import Classifier
        from boats_runtime.cli import results
        from boats_runtime.cli.inputs import find_inputs

        classifier = Classifier(path, provider, spin=is_single)
    if provider == "auto":
        log(f"on {classifier.provider}: {classifier.selection_reason}")
    if classifier.compatibility_warning:
        log(classifier.compatibility_warning)
    if threshold is None:
        threshold = classifier.metadata.threshold or 0.0
    context = results.ResultContext(classifier.provider, classifier.metadata.digest, threshold, top)
    if watch is not None:
        watch_folder(classifier, watch, journal or watch / JOURNAL, context)
    inputs = find_inputs(images)
    if output is not None:
        counts = write_file(classifier, inputs, context, output, resume=resume)
    else:
        writer: ResultWriter
        if as_json:
            writer = results.JsonWriter(sys.stdout, context)
        elif as_jsonl:
            writer = results.JsonlWriter(sys.stdout, context)
        elif as_csv:
            writer = results.CsvWriter(sys.stdout, context)
        else:
            writer = results.TableWriter(sys.stdout, context, max(map(len, images)))
        outcomes = classifier.predict_many(inputs)
        if not sys.stdout.isatty():
            outcomes = track(outcomes, "images")
        counts = write_results(outcomes, writer)
    if counts.failed:
        raise ImageError(f"{counts.failed} of {counts.total} images could not be classified")


def check_usage(
    images: list[str],
    formats: list[str],
    resume: bool,
    watch: Path | None,
    journal: Path | None,
) -> None:
    """Check the combination of options; `formats` are those given for the form of the output.

    Raises:
        UsageError: If options exclude each other, or a required one is missing.
    """
    if journal is not None and watch is None:
        raise UsageError("--journal requires --watch DIR")
    if bool(images) == (watch is not None):
        raise UsageError("give either images (IMAGE...) or a folder to watch (--watch DIR)")
    if len(formats) > 1:
        raise UsageError(f"{' and '.join(formats)} exclude each other: choose one")
    if resume and "--output" not in formats:
        raise UsageError("--resume requires --output FILE")
    if watch is not None and formats not in ([], ["--jsonl"]):
        raise UsageError(f"--watch prints JSON lines and excludes {formats[0]}")
    if watch is not None and not watch.is_dir():
        raise UsageError(f"--watch {watch}: folder does not exist")


def find_model(model: Path | None) -> Path:
    """Return the given model file, or `boats.onnx` in the current folder.

    Raises:
        UsageError: If no model is given and there is no default one.
    """
    if model is not None:
        return model
    if DEFAULT_MODEL.is_file():
        return DEFAULT_MODEL
    raise UsageError(
        f"no {DEFAULT_MODEL} in {Path.cwd()}: give --model FILE or set BOATS_MODEL, "
        "or create one with boats-train and boats-export --format onnx"
    )


@dataclass
class Counts:
    """Number of results, and of failures among them."""

    total: int = 0
    failed: int = 0


def write_results(outcomes: "Iterable[Outcome]", writer: "ResultWriter") -> Counts:
    """Write results as they arrive and count them."""
    counts = Counts()
    for outcome in outcomes:
        counts.total += 1
        counts.failed += isinstance(outcome, Exception)
        writer.write(outcome)
    writer.finish()
    return counts


def write_file(
    classifier: "Classifier",
    inputs: "Iterable[ImageInput | Failure]",
    context: "ResultContext",
    output: Path,
    *,
    resume: bool,
) -> Counts:
    """Append results to a file and log their number.

    Raises:
        UsageError: If the file exists and `resume` is false, or it has other content.
        OutputError: If the file cannot be written.
    """
    from boats_runtime.cli.results import JsonlWriter
    from boats_runtime.cli.results_file import open_results

    with open_results(output, resume=resume) as (stream, completed):
        remaining = (item for item in inputs if item.name not in completed)
        outcomes = track(classifier.predict_many(remaining), "images")
        counts = write_results(outcomes, JsonlWriter(stream, context))
    skipped = f", {len(completed)} skipped" if completed else ""
    log(f"{output}: {counts.total} images{skipped}")
    return counts


def watch_folder(
    classifier: "Classifier", folder: Path, journal_path: Path, context: "ResultContext"
) -> NoReturn:
    """Print the results of new images in a folder until an interrupt.

    Raises:
        DataError: If the journal has other content.
        OutputError: If the journal cannot be written.
    """
    from boats_runtime.cli.results import JsonlWriter
    from boats_runtime.cli.watch import FolderWatcher, Journal, classify_new_images

    classifier.warm_up()
    with closing(Journal(journal_path)) as journal:
        log(f"watching {folder}")
        writer = JsonlWriter(sys.stdout, context)
        classify_new_images(classifier, FolderWatcher(folder, journal), writer)


def main() -> NoReturn:
    """Run `boats-predict`."""
    run_app(app, COMMAND)
