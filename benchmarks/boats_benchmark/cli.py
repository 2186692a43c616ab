"""`boats-benchmark FILE...`: compare files, providers, batch sizes and threads on this machine."""

import json
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, run_app
from boats_runtime.cli.command import Command
from boats_runtime.errors import BoatsError, ModelError, OutputError, ProviderError, UsageError
from boats_runtime.installation import install_command

if TYPE_CHECKING:
    from boats_benchmark.runner import BenchmarkSettings, Combination, CombinationResult

COMMAND = "boats-benchmark"
MAX_IMAGES = 100

EXAMPLES = """
boats-benchmark boats.onnx
boats-benchmark boats.onnx int8.onnx --threads 1,2,4 --output results/
boats-benchmark boats.onnx --provider cpu --provider cuda --scenario offline --batch 1,8,32
"""

app = create_app(COMMAND)
log = create_log(COMMAND)


@app.command(cls=Command, epilog=EXAMPLES)
def benchmark(
    models: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Exported files.")],
    provider: Annotated[
        list[str] | None, typer.Option(help="Provider; repeat the option for several.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, such as 1,8,32.")] = "1",
    threads: Annotated[
        str | None,
        typer.Option(help="Numbers of threads, such as 1,2,4.", show_default="all available CPUs"),
    ] = None,
    scenario: Annotated[
        Literal["single-stream", "offline", "server"],
        typer.Option(help="One image after another, all at once, or at random times."),
    ] = "single-stream",
    duration: Annotated[
        float, typer.Option(help="Seconds for each combination, all rounds together.")
    ] = 10.0,
    rounds: Annotated[
        int, typer.Option(min=1, help="Trials of each combination, in shuffled order.")
    ] = 5,
    bound: Annotated[
        float,
        typer.Option(min=0.001, help="Bound on the p99 latency in the server scenario, in ms."),
    ] = 200.0,
    images: Annotated[
        Path | None,
        typer.Option(
            "--photos",
            envvar="BOATS_BENCHMARK_PHOTOS",
            help="Folder of images to classify.",
            show_default="a synthetic image",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for JSON with all raw values, a Markdown page and plots."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed for the order of the trials and the arrival times.")
    ] = 0,
    spin: Annotated[
        bool, typer.Option("--spin", help="Let idle threads spin instead of sleep.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_BENCHMARK_JSON", help="Print one JSON object.")
    ] = False,
) -> None:
    """Measure the latency and throughput of exported files on this machine."""
    batches = parse_counts("--batch", batch)
    counts: list[int | None] = [None] if threads is None else [*parse_counts("--threads", threads)]
    if not 0 < duration < math.inf:
        raise UsageError(f"--duration {duration:g}: expected a positive number of seconds")
    if not 0 < bound < math.inf:
        raise UsageError(f"--bound {bound:g}: expected a positive number of milliseconds")
    if scenario == "single-stream" and batches != [1]:
        raise UsageError(
            f"--batch {batch}: single-stream runs one image at a time; use --scenario offline"
        )
    from boats_benchmark.environment import Environment
    from boats_benchmark.runner import BenchmarkSettings, make_combinations
    from boats_runtime.model.file import read_model
    from boats_runtime.providers.session import PROVIDERS

    providers = provider or ["cpu"]
    unknown = [name for name in providers if name not in PROVIDERS]
    if unknown:
        raise UsageError(f"no provider is called {unknown[0]}: {', '.join(PROVIDERS)}")
    for model in models:
        read_model(model)  # report an unusable file before anything is measured
    if output is not None:
        create_folder(output)
    settings = BenchmarkSettings(
        scenario,
        duration,
        rounds=rounds,
        seed=seed,
        spin=spin,
        bound_ms=bound,
        images=find_readable_images(images),
    )
    environment = Environment()
    results = measure(make_combinations(models, providers, batches, counts), settings)
    record = {
        "schema_version": 1,
        "scenario": scenario,
        "command": shlex.join([COMMAND, *sys.argv[1:]]),
        "circumstances": environment.to_json(),
        "rows": [result.to_json() for result in results],
    }
    report(record, output, as_json)
    failures = [result for result in results if result.error]
    if failures:
        codes = {result.exit_code for result in failures}
        kind: type[BoatsError] = ProviderError if codes == {ProviderError.exit_code} else ModelError
        raise kind(f"{len(failures)} of {len(results)} combinations failed: {failures[0].error}")


def parse_counts(option: str, text: str) -> list[int]:
    """Parse a list such as `1,8,32`.

    Raises:
        UsageError: If the text is not a list of positive integers.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{option} {text}: expected positive integers, such as 1,8,32")
    return list(dict.fromkeys(int(part) for part in parts))


def find_readable_images(folder: Path | None) -> tuple[str, ...]:
    """Return the images of a folder that can be decoded, up to `MAX_IMAGES`; none for None.

    Raises:
        UsageError: If no image can be decoded.
    """
    if folder is None:
        return ()
    from boats_runtime.cli.inputs import find_images
    from boats_runtime.decoding import decode
    from boats_runtime.errors import ImageError

    names: list[str] = []
    for path in find_images(folder):
        try:
            decode(path)
        except ImageError:
            continue
        names.append(str(path))
        if len(names) == MAX_IMAGES:
            break
    if not names:
        raise UsageError(f"--photos {folder}: no images in this folder can be decoded")
    return tuple(names)


def create_folder(folder: Path) -> None:
    """Create the folder for the results, before the measurement takes hours.

    Raises:
        OutputError: If the folder cannot be written.
    """
    probe = folder / ".boats-benchmark"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"--output {folder}: cannot be written: {error.strerror}") from error


def measure(
    combinations: "list[Combination]", settings: "BenchmarkSettings"
) -> "list[CombinationResult]":
    """Run all trials, and show the progress on a terminal."""
    from boats_benchmark.runner import (
        CombinationResult,
        find_rates,
        run_trials,
        start_server,
        start_trial,
    )
    from boats_runtime.progress import track

    results = [CombinationResult(combination) for combination in combinations]
    trials = run_trials(results, settings, start_trial)
    stages = [(trials, "trials", len(results) * settings.rounds)]
    if settings.scenario == "server":
        stages.append((find_rates(results, settings, start_server), "rates", len(results)))
    for stage, title, total in stages:
        for _ in track(stage, title, total):
            pass
    return results


def report(record: dict[str, Any], output: Path | None, as_json: bool) -> None:
    """Print the results, and write them to the output folder.

    Raises:
        OutputError: If a file cannot be written.
    """
    from boats_benchmark.report import format_page, format_table, write_json
    from boats_runtime.files import write_atomic

    results = record["rows"]
    lines = [json.dumps(record, indent=2)] if as_json else format_table(results, record["scenario"])
    typer.echo("\n".join(lines))
    for warning in record["circumstances"]["warnings"]:
        log(warning)
    if output is None:
        return
    plots: list[str] = []
    try:
        from boats_benchmark.plots import draw_plots
    except ImportError:
        log(f"plots need Matplotlib: {install_command('benchmark')}")
    else:
        plots = draw_plots(results, output)
    write_json(output / "results.json", record)
    write_atomic(output / "results.md", format_page(record, plots).encode())
    log(str(output / "results.md"))


def main() -> NoReturn:
    """Run `boats-benchmark`."""
    run_app(app, COMMAND)
