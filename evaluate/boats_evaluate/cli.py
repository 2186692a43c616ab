"""Command `boats-evaluate`: evaluate an exported model on labeled images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, require_extra, run_app
from boats_runtime.cli.command import Command
from boats_runtime.errors import ImageError, UsageError

if TYPE_CHECKING:
    from boats_runtime.classifier import Classifier

COMMAND = "boats-evaluate"
MODULES = ("jinja2", "scipy", "sklearn")

EXAMPLES = """
boats-evaluate boats.onnx data/test --report report.html
boats-evaluate boats.onnx data/test --json > baseline.json
boats-evaluate new.onnx data/test --gate baseline.json
"""

app = create_app(COMMAND)
log = create_log(COMMAND)


@app.command(cls=Command, epilog=EXAMPLES)
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Model exported by boats-export.")],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with one subfolder of images per class.")
    ],
    compare: Annotated[
        list[Path] | None, typer.Option(help="Another model to compare with FILE; repeatable.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_EVALUATE_JSON", help="Print one JSON object.")
    ] = False,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Regular expression that reads the group of an image from its file name.",
            show_default="a leading date",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Scores below it are reported as unknown.",
            show_default="stored in each file",
        ),
    ] = None,
    provider: Annotated[
        str, typer.Option(help="auto, cpu, cuda, tensorrt, ...; only auto can fall back.")
    ] = "auto",
    gate: Annotated[
        Path | None,
        typer.Option(
            help="Baseline, an earlier --json output: exit with 5 unless FILE is shown not to be "
            "worse than --max-drop allows."
        ),
    ] = None,
    allow_inconclusive: Annotated[
        bool,
        typer.Option(
            "--allow-inconclusive",
            help="With --gate: exit with 0 if the images cannot show whether FILE is worse.",
        ),
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="With --gate: allowed drop of accuracy in percentage points; twice as much for "
            "macro-F1.",
            show_default="0.5",
        ),
    ] = None,
    significance: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=0.5,
            help="With --gate: significance level of the tests.",
            show_default="0.05",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ACCURACY", help="Accuracy reported elsewhere; repeatable."),
    ] = None,
    explain: Annotated[
        int, typer.Option(min=0, max=200, help="With --report: number of mistakes to explain.")
    ] = 24,
) -> None:
    """Evaluate an exported model on labeled images."""
    require_extra(COMMAND, "evaluate", MODULES)
    if gate is None and (max_drop is not None or significance is not None or allow_inconclusive):
        raise UsageError("--max-drop, --significance and --allow-inconclusive require --gate")
    paths = [file, *(compare or [])]
    if report is not None:
        _check_report_path(report, [*paths, *([gate] if gate else [])])
    references = [parse_reference(text) for text in reference or []]
    from boats_evaluate import evaluation, results, terminal
    from boats_evaluate.gate import compare_to_baseline, require_passed
    from boats_evaluate.gate_checks import MAX_DROP, SIGNIFICANCE

    baseline = results.read_baseline(gate) if gate else None
    files = _open_files(paths, provider)
    evaluated = evaluation.evaluate(files, folder, groups, threshold)
    gate_result = None
    if baseline:
        drop = MAX_DROP if max_drop is None else max_drop
        gate_result = compare_to_baseline(evaluated, baseline, drop, significance or SIGNIFICANCE)
    # Write the report first: the reader of standard output may close it early, as `head` does.
    if report is not None:
        from boats_evaluate.report import make_report
        from boats_runtime.files import write_atomic

        page = make_report(evaluated, files[0][1], references, explain, gate_result)
        content = page.encode(errors="backslashreplace")  # file names can hold any bytes
        write_atomic(report, content)
        log(f"report: {report}, {len(content) / 1e6:.1f} MB")
    if as_json:
        gate_json = gate_result.to_json() if gate_result else None
        typer.echo(json.dumps(results.to_json(evaluated, gate_json), indent=1))
    else:
        typer.echo(terminal.format_evaluation(evaluated, references, gate_result))
    if gate_result:
        require_passed(gate_result, allow_inconclusive=allow_inconclusive)
    if evaluated.unreadable:
        failed = len(evaluated.unreadable)
        total = failed + len(evaluated.images) + len(evaluated.unknown_images)
        raise ImageError(f"{failed} of {total} images cannot be read")


def _check_report_path(report: Path, inputs: list[Path]) -> None:
    if not report.parent.is_dir() or report.is_dir():
        raise UsageError(f"--report {report}: must be a file in an existing folder")
    if report.exists() and any(path.exists() and report.samefile(path) for path in inputs):
        raise UsageError(f"--report {report}: is an input of this command; give another path")


def parse_reference(text: str) -> tuple[str, float]:
    """Parse `--reference NAME=ACCURACY`.

    Raises:
        UsageError: If the text is not a name and a number from 0 to 1.
    """
    name, _, value = text.rpartition("=")
    try:
        accuracy = float(value)
    except ValueError:
        accuracy = -1
    if not name.strip() or not 0 <= accuracy <= 1:
        raise UsageError(f"--reference {text}: must be NAME=ACCURACY, such as 'report SVM=0.872'")
    return name.strip(), accuracy


def _open_files(paths: list[Path], provider: str) -> list[tuple[Path, "Classifier"]]:
    from boats_evaluate.predictions import open_classifiers

    classifiers = open_classifiers(paths, provider)
    files = list(zip(paths, classifiers, strict=True))
    if provider == "auto":
        log(f"on {classifiers[0].provider}: {classifiers[0].selection_reason}")
    for path, classifier in files:
        if classifier.compatibility_warning:
            log(f"{path}: {classifier.compatibility_warning}")
    return files


def main() -> NoReturn:
    """Run `boats-evaluate`."""
    run_app(app, COMMAND)
