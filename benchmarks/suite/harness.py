"""Frame of the measurement scripts: options, environment, table, JSON and exit code."""

import argparse
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from boats_benchmark.environment import Environment
from boats_benchmark.report import write_json
from boats_runtime.errors import CheckError

RESULTS = Path("benchmarks/results")


@dataclass(frozen=True)
class ScriptResult:
    """Result of a script.

    Attributes:
        table: Markdown.
        values: Raw values and estimates, JSON values by name.
        missed_targets: A line for each target that was missed.
    """

    table: str
    values: dict[str, Any]
    missed_targets: list[str] = field(default_factory=list)


def run_module(module: str, *arguments: object) -> dict[str, Any]:
    """Run a module of `suite` in a new process and return the JSON object it prints last.

    Args:
        module: Dotted name, such as `suite.peer_runtimes`.
        arguments: Command-line arguments.
    """
    process = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    output: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return output


def run_script(measure: Callable[..., ScriptResult]) -> NoReturn:
    """Run a measurement as a script: print the table, write the raw values, and exit.

    The parameters of the function are the options of the script, such as `--torch-rounds` for
    `torch_rounds: int = 3`; `--output` is added. The exit code is 5 if a target was missed.

    Args:
        measure: Function that measures; a parameter without a default is a required option.
    """
    parser = argparse.ArgumentParser(
        description=sys.modules[measure.__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, parameter in inspect.signature(measure).parameters.items():
        required = parameter.default is parameter.empty
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=parameter.annotation,
            required=required,
            default=None if required else parameter.default,
        )
    parser.add_argument("--output", type=Path, default=RESULTS / f"{Path(sys.argv[0]).stem}.json")
    options = vars(parser.parse_args())
    output = options.pop("output")
    environment = Environment()
    result = measure(**options)
    # Recorded results have the key `circumstances`.
    record = environment.to_json()
    write_json(output, {"table": result.table, **result.values, "circumstances": record})
    print(result.table)
    for line in (
        *(f"warning: {warning}" for warning in record["warnings"]),
        f"raw values: {output}",
        *(f"target missed: {target}" for target in result.missed_targets),
    ):
        print(line, file=sys.stderr)
    sys.exit(CheckError.exit_code if result.missed_targets else 0)
