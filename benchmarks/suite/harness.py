"""What every script does around its measurement: options, circumstances, table, JSON, exit code."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boats_benchmark.environment import Environment, report

RESULTS = Path("benchmarks/results")

MISSED = 5
"""The exit code after a missed target: a check refused."""


@dataclass(frozen=True)
class Result:
    """What a script found.

    Attributes:
        table: In Markdown.
        values: Raw values and what follows from them, JSON values by name.
        missed: The targets that were missed, in words.
    """

    table: str
    values: dict[str, Any]
    missed: list[str] = field(default_factory=list)


def tell(ratio: Sequence[float], digits: int = 2) -> str:
    """Returns a ratio's value and its interval in words."""
    return "{:.{n}f} ({:.{n}f} to {:.{n}f})".format(*ratio, n=digits)


def run_script(
    parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], Result]
) -> None:
    """Measures, prints the table, writes the raw values, and exits with `MISSED` if need be.

    Args:
        parser: With the script's own options.
        measure: Takes the options.
    """
    name = Path(sys.argv[0]).stem
    parser.add_argument("--output", type=Path, default=RESULTS / f"{name}.json")
    options = parser.parse_args()
    circumstances = Environment()
    result = measure(options)
    report(options.output, {"table": result.table, **result.values}, circumstances)
    print(result.table)
    print(f"raw values: {options.output}", file=sys.stderr)
    for line in result.missed:
        print(f"target missed: {line}", file=sys.stderr)
    sys.exit(MISSED if result.missed else 0)
