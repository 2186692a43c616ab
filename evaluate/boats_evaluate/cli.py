"""`boats-evaluate FILE DIR`: what an exported file gets right and wrong on labelled photos."""

import json
import sys  # noqa: F401
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, require_extra, run_app
from boats_runtime.errors import ImageError, UsageError

if TYPE_CHECKING:
    from boats_evaluate.evaluation import Evaluation
    from boats_evaluate.gate import Verdict
    from boats_runtime.classifier import Classifier

COMMAND = "boats-evaluate"
MODULES = ("jinja2", "scipy", "sklearn")

app = create_app(COMMAND)
log = create_log(COMMAND)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of boats-export.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of photos for each class.")
    ],
    compare: Annotated[
        list[Path] | None, typer.Option(help="Another file beside it; may be given again.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page to look at.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_EVALUATE_JSON", help="Print one JSON object.")
    ] = False,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Regular expression on file names: what belongs together.",
            show_default="a leading date",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Scores under it are called unknown.", show_default="each file's"
        ),
    ] = None,
    provider: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda, tensorrt, ...; an explicit one never falls back."),
    ] = "auto",
    gate: Annotated[
        Path | None,
        typer.Option(help="An earlier --json: exit with 5 if FILE is worse, beyond the noise."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="--gate: points of accuracy that may be lost; of macro-F1, twice as many.",
            show_default="0.5",
        ),
    ] = None,
    significance: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=0.5, help="--gate: what is under it is no noise.", show_default="0.05"
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=ACCURACY", help="A number to show beside it; may be given again."
        ),
    ] = None,
    explain: Annotated[
        int, typer.Option(min=0, max=200, help="--report: mistakes that are shown large.")
    ] = 24,
) -> None:
    """Judge an exported file on labelled photos, as it ships."""
    require_extra(COMMAND, "evaluate", MODULES)
    if gate is None and (max_drop is not None or significance is not None):
        raise UsageError("--max-drop and --significance are for --gate")
    paths = [file, *(compare or [])]
    if report is not None:
        check_place(report, [*paths, *([gate] if gate else [])])
    references = [parse_reference(text) for text in reference or []]
    from boats_evaluate.evaluation import evaluate as evaluate_files
    from boats_evaluate.gate import MAX_DROP, SIGNIFICANCE, hold_against, require_passed
    from boats_evaluate.predictions import open_files
    from boats_evaluate.results import read_baseline

    baseline = read_baseline(gate) if gate else None
    classifiers = open_files(paths, provider)
    if provider == "auto":
        log(f"on {classifiers[0].provider}: {classifiers[0].selection_reason}")
    for path, classifier in zip(paths, classifiers, strict=True):
        if classifier.caution:
            log(f"{path}: {classifier.caution}")
    files = list(zip(paths, classifiers, strict=True))
    evaluation = evaluate_files(files, folder, groups, threshold)
    verdict = None
    level = SIGNIFICANCE if significance is None else significance
    if baseline:
        drop = MAX_DROP if max_drop is None else max_drop
        verdict = hold_against(evaluation, baseline, drop, level)
    # Before the results: whoever reads them may stop reading, as `head` does.
    if report is not None:
        write_report(report, evaluation, classifiers[0], references, explain)
    print_results(evaluation, verdict, references, as_json)
    if verdict:
        require_passed(verdict, level)
    if evaluation.unreadable:
        failed = len(evaluation.unreadable)
        every = failed + len(evaluation.photos) + len(evaluation.strangers)
        raise ImageError(f"{failed} of {every} photos could not be read")


def check_place(report: Path, others: list[Path]) -> None:
    """Checks that the page can be written without covering what is read.

    Raises:
        UsageError: It can't.
    """
    if not report.parent.is_dir() or report.is_dir():
        raise UsageError(f"--report {report}: must be a file in a folder that exists")
    if report.exists() and any(path.exists() and report.samefile(path) for path in others):
        raise UsageError(f"--report {report}: is read by this very call; name another file")


def parse_reference(text: str) -> tuple[str, float]:
    """Reads `--reference NAME=ACCURACY`.

    Raises:
        UsageError: It is not a name and a number from 0 to 1.
    """
    name, _, value = text.rpartition("=")
    try:
        accuracy = float(value)
    except ValueError:
        accuracy = -1
    if not name.strip() or not 0 <= accuracy <= 1:
        raise UsageError(f"--reference {text}: must be NAME=ACCURACY, as 'report SVM=0.872'")
    return name.strip(), accuracy


def print_results(
    evaluation: "Evaluation",
    verdict: "Verdict | None",
    references: list[tuple[str, float]],
    as_json: bool,
) -> None:
    """Prints what was measured and what the gate found."""
    from boats_evaluate.results import to_json
    from boats_evaluate.terminal import gate_lines, to_lines

    if as_json:
        whole = to_json(evaluation, verdict.to_json() if verdict else None)
        typer.echo(json.dumps(whole, indent=1))
        return
    for line in to_lines(evaluation, references):
        typer.echo(line)
    if verdict:
        typer.echo("")
        for line in gate_lines(verdict):
            typer.echo(line)


def write_report(
    place: Path,
    evaluation: "Evaluation",
    classifier: "Classifier",
    references: list[tuple[str, float]],
    explain: int,
) -> None:
    """Writes the page, and says so."""
    from boats_evaluate.report import make_report
    from boats_runtime.files import write_atomic

    page = make_report(evaluation, classifier, references, explain)
    # A file's name need not be text.
    content = page.encode(errors="backslashreplace")
    write_atomic(place, content)
    log(f"report: {place}, {len(content) / 1e6:.1f} MB")


def main() -> NoReturn:
    """Runs `boats-evaluate`."""
    run_app(app, COMMAND)
