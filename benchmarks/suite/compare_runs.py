"""Compare two runs of the benchmarks: each ratio of one run with the same ratio of the other.

    python benchmarks/suite/compare_runs.py benchmarks/results OTHER

Both are folders of JSON written by the scripts. Two ratios agree if their 95% intervals overlap.
Prints a line for each ratio, and exits with 5 if some do not agree.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boats_benchmark.timing import Estimate
from boats_runtime.errors import CheckError


def main() -> None:
    """Compare two folders of results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args()
    first, second = (dict(read_ratios(folder)) for folder in (options.first, options.second))
    shared = [name for name in first if name in second]
    if not shared:
        parser.error(f"{options.first}, {options.second}: no ratio in common")
    different = [name for name in shared if not overlap(first[name], second[name])]
    for name in shared:
        verdict = "APART" if name in different else "agree"
        print(f"{verdict}  {name}: {first[name].format(3)} and {second[name].format(3)}")
    print(f"{len(shared) - len(different)} of {len(shared)} ratios agree")
    sys.exit(CheckError.exit_code if different else 0)


def read_ratios(folder: Path) -> Iterator[tuple[str, Estimate]]:
    """Yield the name and value of each ratio in a folder of results."""
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        del content["circumstances"]
        yield from find_ratios(content, path.stem)


def find_ratios(content: Any, name: str) -> Iterator[tuple[str, Estimate]]:
    """Yield the ratios in a JSON value: `[value, low, high]`, or an object with these keys."""
    if isinstance(content, dict):
        if content.keys() == {"value", "low", "high"}:
            yield name, Estimate(**content)
            return
        for key, value in content.items():
            if key != "values_ns":
                yield from find_ratios(value, f"{name}, {key}")
    elif isinstance(content, list):
        if len(content) == 3 and all(isinstance(value, float) for value in content):
            yield name, Estimate(*content)
            return
        for number, value in enumerate(content):
            yield from find_ratios(value, f"{name} {number}")


def overlap(first: Estimate, second: Estimate) -> bool:
    """Return whether two intervals overlap."""
    return first.low <= second.high and second.low <= first.high


if __name__ == "__main__":
    main()
