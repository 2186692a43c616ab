"""`boats-predict IMAGE...`: label and score of photos, without PyTorch.

Threads that wait for work spin for one photo alone: nothing else wants the cores then. A folder's
photos are decoded by other threads meanwhile, and a camera's box has other work: there they sleep.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from boats_runtime.cli.app import create_app, pause_garbage_collection, run_app
from boats_runtime.errors import ImageError, UsageError
from boats_runtime.progress import track

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier
    from boats_runtime.cli.inputs import Source
    from boats_runtime.cli.results import Context, Result

COMMAND = "boats-predict"
DEFAULT_MODEL = Path("boats.onnx")
JOURNAL = ".boats-watch.jsonl"

app = create_app(COMMAND)


@app.command()
def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="Photos, folders, patterns, @LIST, or - for a photo on standard input.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="The exported file.", envvar="BOATS_MODEL", show_default="./boats.onnx"),
    ] = None,
    provider: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda, tensorrt, ...; an explicit one never falls back."),
    ] = "auto",
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 1,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Scores under it are called unknown.", show_default="the model's"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_PREDICT_JSON", help="Print one JSON object.")
    ] = False,
    as_jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl", envvar="BOATS_PREDICT_JSONL", help="Print a line of JSON for each photo."
        ),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", envvar="BOATS_PREDICT_CSV", help="Print CSV.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write lines of JSON into this file instead.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --output: photos in it are passed over.")
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(help="Classify photos as they land in this folder; prints lines of JSON."),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="Where --watch notes what is done.", show_default="DIR/.boats-watch.jsonl"
        ),
    ] = None,
) -> None:
    """Say what is in each photo, and how sure the model is."""
    images = images or []
    forms = {"--json": as_json, "--jsonl": as_jsonl, "--csv": as_csv, "--output": output}
    if journal is not None and watch is None:
        raise UsageError("--journal is where --watch DIR notes what is done: name the folder")
    check_usage(images, watch, [name for name, given in forms.items() if given], resume)
    path = find_model(model)
    single = len(images) == 1 and not Path(images[0]).is_dir() and images[0][0] != "@"
    with pause_garbage_collection():
        from boats_runtime.classifier import Classifier
        from boats_runtime.cli.inputs import find_sources
        from boats_runtime.cli.results import Context

        classifier = Classifier(path, provider, spin=single)
    if provider == "auto":
        note = f"{COMMAND}: on {classifier.provider}: {classifier.selection_reason}"
        print(note, file=sys.stderr)  # noqa: T201
    if classifier.caution:
        print(f"{COMMAND}: {classifier.caution}", file=sys.stderr)  # noqa: T201
    metadata = classifier.metadata
    if threshold is None:
        threshold = metadata.threshold or 0.0
    context = Context(classifier.provider, metadata.digest, threshold, top)
    if watch is not None:
        watch_folder(classifier, watch, journal or watch / JOURNAL, context)
    tally = Tally()
    sources = find_sources(images)
    if output is not None:
        write_file(classifier, sources, context, output, resume, tally)
    else:
        results = tally.count(classify(classifier, sources))
        if not sys.stdout.isatty():
            results = track(results, "photos")
        form = "json" if as_json else "jsonl" if as_jsonl else "csv" if as_csv else "table"
        for line in to_lines(results, context, form, max(map(len, images))):
            typer.echo(line)  # and flushes: whoever reads along sees it now
    if tally.failed:
        raise ImageError(f"{tally.failed} of {tally.all} photos could not be read")


def check_usage(images: list[str], watch: Path | None, forms: list[str], resume: bool) -> None:
    """Checks what goes together.

    Args:
        images: What to classify.
        watch: The folder to watch instead.
        forms: Options that say where results go, or how they look; those that were given.
        resume: Whether to go on with a file.

    Raises:
        UsageError: It does not.
    """
    if bool(images) == (watch is not None):
        raise UsageError("name photos (IMAGE...), or a folder that they land in with --watch DIR")
    if len(forms) > 1:
        raise UsageError(f"{' and '.join(forms)}: choose one")
    if resume and "--output" not in forms:
        raise UsageError("--resume goes on with a file: name it with --output")
    if watch is not None and forms not in ([], ["--jsonl"]):
        raise UsageError(f"--watch prints lines of JSON: it goes without {forms[0]}")
    if watch is not None and not watch.is_dir():
        raise UsageError(f"--watch {watch}: no such folder")


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


def classify(classifier: "Classifier", sources: "Iterable[Source]") -> "Iterator[Result]":
    """Yields what becomes of each photo, in order."""
    from boats_runtime.cli.inputs import read_source
    from boats_runtime.cli.results import to_result

    for source, outcome in classifier.predict_each(sources, read_source):
        yield to_result(source.name, outcome)


def write_file(
    classifier: "Classifier",
    sources: "Iterable[Source]",
    context: "Context",
    output: Path,
    resume: bool,
    tally: "Tally",
) -> None:
    """Writes lines of JSON into a file, each whole and at once, and says how many.

    Raises:
        UsageError: The file is there already, or is none of results.
        OutputError: It can't be written.
    """
    from boats_runtime.cli.results_file import open_output

    with open_output(output, resume=resume) as (stream, done):
        left = (source for source in sources if source.name not in done)
        results = track(tally.count(classify(classifier, left)), "photos")
        for line in to_lines(results, context, "jsonl", 0):
            stream.write(f"{line}\n".encode())
            stream.flush()
    before = f", {len(done)} were there" if done else ""
    print(f"{COMMAND}: {output}: {tally.all} photos{before}", file=sys.stderr)  # noqa: T201


def watch_folder(
    classifier: "Classifier", folder: Path, journal: Path, context: "Context"
) -> NoReturn:
    """Prints a line of JSON for each photo that lands in a folder, until it is interrupted.

    A photo is noted as done after its line is out: a kill in between prints it once more, and
    loses none.

    Raises:
        DataError: The journal is something else.
        OutputError: The journal can't be written.
    """
    from boats_runtime.cli.results import to_json, to_result
    from boats_runtime.cli.watch import Watch, land

    classifier.warm_up()
    with closing(Watch(folder, journal)) as watch:
        print(f"{COMMAND}: watching {folder}", file=sys.stderr)  # noqa: T201
        for photos in land(watch):
            for landed, outcome in classifier.predict_each(photos, lambda one: one.path):
                landed.tried = isinstance(outcome, ImageError)
                if landed.tried and not landed.last_call:
                    continue  # it may still be on its way
                result = to_result(str(landed.path), outcome)
                typer.echo(json.dumps(to_json(result, context)))
                watch.done(landed)
    raise AssertionError("the folder is watched for ever")


@dataclass
class Tally:
    """Counts results that pass by, all of them and those that failed."""

    all: int = 0
    failed: int = 0

    def count(self, results: "Iterable[Result]") -> "Iterator[Result]":
        """Passes results on."""
        for result in results:
            self.all += 1
            self.failed += result.prediction is None
            yield result


def to_lines(
    results: "Iterable[Result]", context: "Context", form: str, width: int
) -> Iterator[str]:
    """Yields what is printed, as soon as it is known.

    Args:
        results: One a photo.
        context: What they have in common.
        form: `table`, `json`, `jsonl` or `csv`.
        width: Of the names in the table; grows when a longer one comes along.
    """
    from boats_runtime.cli.results import SCHEMA_VERSION, to_csv, to_json, to_row

    if form == "json":
        predictions = [to_json(result, context) for result in results]
        whole = {"schema_version": SCHEMA_VERSION, "predictions": predictions}
        yield json.dumps(whole, indent=2)
        return
    if form == "csv":
        yield to_csv(None, context)
    for result in results:
        if form == "jsonl":
            yield json.dumps(to_json(result, context))
        elif form == "csv":
            yield to_csv(result, context)
        else:
            width = max(width, len(result.name))
            yield to_row(result, context, width)


def main() -> NoReturn:
    """Runs `boats-predict`."""
    run_app(app, COMMAND)
