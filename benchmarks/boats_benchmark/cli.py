"""`boats-benchmark FILE...`: which provider, precision, batch and threads are quickest here."""

import json
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from boats_runtime.cli.app import create_app, run_app
from boats_runtime.errors import BoatsError, ModelError, OutputError, ProviderError, UsageError

if TYPE_CHECKING:
    from boats_benchmark.runner import Measured, Settings

COMMAND = "boats-benchmark"
MOST_PHOTOS = 100

app = create_app(COMMAND)


@app.command()
def benchmark(
    models: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Exported files.")],
    provider: Annotated[
        list[str] | None, typer.Option(help="Where to run; give it again for more.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Photos at once, like 1,8,32.")] = "1",
    threads: Annotated[
        str | None, typer.Option(help="Threads, like 1,2,4.", show_default="all granted")
    ] = None,
    scenario: Annotated[
        Literal["single-stream", "offline", "server"],
        typer.Option(help="One photo after the other, all at once, or as they arrive."),
    ] = "single-stream",
    duration: Annotated[
        float, typer.Option(help="Seconds for each combination, its rounds together.")
    ] = 10.0,
    rounds: Annotated[
        int, typer.Option(min=1, help="Turns of each combination, in an order shuffled anew.")
    ] = 5,
    bound: Annotated[
        float, typer.Option(min=0.001, help="Of the server's 99th percentile, in ms.")
    ] = 200.0,
    photos: Annotated[
        Path | None, typer.Option(help="A folder of photos to classify.", show_default="one drawn")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write JSON with all raw values, Markdown and plots into this folder."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of orders and arrivals.")] = 0,
    spin: Annotated[bool, typer.Option("--spin", help="Let waiting threads spin.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="BOATS_BENCHMARK_JSON", help="Print one JSON object.")
    ] = False,
) -> None:
    """Time exported files on this machine, and say what it depended on."""
    batches = read_counts("--batch", batch)
    counts: list[int | None] = [None] if threads is None else [*read_counts("--threads", threads)]
    if not 0 < duration < math.inf:
        raise UsageError(f"--duration {duration:g}: not a number of seconds above 0")
    if not 0 < bound < math.inf:
        raise UsageError(f"--bound {bound:g}: not a number of milliseconds above 0")
    if scenario == "single-stream" and batches != [1]:
        raise UsageError(f"--batch {batch}: one photo at a time is what single-stream means; "
                         "--scenario offline takes batches")  # fmt: skip
    from boats_benchmark.environment import Environment
    from boats_benchmark.runner import Settings, make_combinations
    from boats_runtime.model.file import read_model
    from boats_runtime.providers.session import PROVIDERS

    chosen = provider or ["cpu"]
    unknown = [name for name in chosen if name not in PROVIDERS]
    if unknown:
        raise UsageError(f"no provider is called {unknown[0]}: {', '.join(PROVIDERS)}")
    for model in models:
        read_model(model)  # a wrong name is told before anything is measured
    if output is not None:
        make_folder(output)
    names = find_names(photos)
    settings = Settings(
        scenario, duration, rounds=rounds, seed=seed, spin=spin, bound_ms=bound, photos=names
    )
    combinations = make_combinations(models, chosen, batches, counts)
    circumstances = Environment()
    measured = measure_all(combinations, settings)
    record = {
        "scenario": scenario,
        "command": shlex.join([COMMAND, *sys.argv[1:]]),
        "circumstances": circumstances.to_json(),
    }
    deliver(measured, record, output, as_json)


def read_counts(option: str, text: str) -> list[int]:
    """Reads `1,8,32`.

    Raises:
        UsageError: It is no such list.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{option} {text}: not numbers from 1 on, like 1,8,32")
    return list(dict.fromkeys(int(part) for part in parts))


def find_names(folder: Path | None) -> tuple[str, ...]:
    """Returns the photos of a folder that can be decoded, up to `MOST_PHOTOS`.

    Raises:
        UsageError: There are none.
    """
    if folder is None:
        return ()
    from boats_runtime.cli.inputs import find_images
    from boats_runtime.errors import ImageError
    from boats_runtime.preprocessing import decode

    names: list[str] = []
    for path in find_images(folder):
        try:
            decode(path)
        except ImageError:
            continue
        names.append(str(path))
        if len(names) == MOST_PHOTOS:
            break
    if not names:
        raise UsageError(f"--photos {folder}: no photos in this folder that can be decoded")
    return tuple(names)


def make_folder(folder: Path) -> None:
    """Makes the folder for the results, before hours go into them.

    Raises:
        OutputError: It can't be written.
    """
    probe = folder / ".boats-benchmark"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"--output {folder}: can't be written: {error.strerror}") from error


def measure_all(combinations: list[Any], settings: "Settings") -> "list[Measured]":
    """Measures all combinations, and tells on a terminal how far it is."""
    from boats_benchmark.runner import find_rates, run_rounds, start_turn
    from boats_runtime.progress import track

    measured: list[Measured] = []
    total = len(combinations) * settings.rounds
    for state in track(run_rounds(combinations, settings, start_turn), f"of {total} turns"):
        measured = state
    if settings.scenario == "server":
        for _ in track(find_rates(measured, settings, start_turn), f"of {len(measured)} rates"):
            pass
    return measured


def deliver(
    measured: "list[Measured]", record: dict[str, Any], output: Path | None, as_json: bool
) -> None:
    """Prints and writes what was measured.

    Raises:
        BoatsError: Something could not be measured; the rest is delivered.
    """
    from boats_benchmark.report import to_table
    from boats_benchmark.runner import to_row

    rows = [to_row(one) for one in measured]
    whole = {"schema_version": 1, **record, "rows": rows}
    lines = [json.dumps(whole, indent=2)] if as_json else to_table(rows, record["scenario"])
    for line in lines:
        typer.echo(line)
    for warning in record["circumstances"]["warnings"]:
        print(f"{COMMAND}: {warning}", file=sys.stderr)
    if output is not None:
        write_results(rows, whole, output)
    errors = [one for one in measured if one.error]
    if errors:
        kind: type[BoatsError] = ModelError
        if all(one.exit_code == ProviderError.exit_code for one in errors):
            kind = ProviderError
        raise kind(f"{len(errors)} of {len(measured)} could not be measured: {errors[0].error}")


def write_results(rows: list[dict[str, Any]], whole: dict[str, Any], output: Path) -> None:
    """Writes `results.json`, `results.md` and, where Matplotlib is installed, the plots."""
    from boats_benchmark.environment import write_json
    from boats_benchmark.report import to_page
    from boats_runtime.files import write_atomic

    plots: list[str] = []
    try:
        from boats_benchmark.plots import draw
    except ImportError:
        note = "plots need Matplotlib: pip install 'boats[benchmark]'"
        print(f"{COMMAND}: {note}", file=sys.stderr)
    else:
        plots = draw(rows, output)
    write_json(output / "results.json", whole)
    write_atomic(output / "results.md", to_page(rows, whole, plots).encode())
    print(f"{COMMAND}: {output / 'results.md'}", file=sys.stderr)


def main() -> NoReturn:
    """Runs `boats-benchmark`."""
    run_app(app, COMMAND)
