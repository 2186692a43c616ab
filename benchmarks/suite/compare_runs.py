"""Whether two runs of the benchmarks agree: each ratio of one beside the same of the other.

    python benchmarks/agree.py benchmarks/results OTHER

Both are folders of JSON, as the scripts write it. Two ratios agree if their 95% intervals overlap.
Prints a line for each ratio, and exits with 5 if some don't agree.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite.harness import MISSED, tell


def main() -> None:
    """Compares, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args()
    first, second = (dict(read(folder)) for folder in (options.first, options.second))
    shared = [name for name in first if name in second]
    if not shared:
        parser.error(f"{options.first}, {options.second}: have no ratio in common")
    apart = [name for name in shared if not agree(first[name], second[name])]
    for name in shared:
        verdict = "APART" if name in apart else "agree"
        print(f"{verdict}  {name}: {tell(first[name], 3)} and {tell(second[name], 3)}")
    print(f"{len(shared) - len(apart)} of {len(shared)} ratios agree")
    sys.exit(MISSED if apart else 0)


def read(folder: Path) -> Iterator[tuple[str, list[float]]]:
    """Yields the names and the values of all ratios in a folder's results."""
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        del content["circumstances"]
        yield from find(content, path.stem)


def find(content: Any, name: str) -> Iterator[tuple[str, list[float]]]:
    """Yields the ratios in a JSON value: a value and its interval, as a list or by their names."""
    if isinstance(content, dict):
        if content.keys() == {"value", "low", "high"}:
            yield name, [content["value"], content["low"], content["high"]]
            return
        for key, value in content.items():
            if key != "values_ns":
                yield from find(value, f"{name}, {key}")
    elif isinstance(content, list):
        if len(content) == 3 and all(isinstance(value, float) for value in content):
            yield name, content
            return
        for number, value in enumerate(content):
            yield from find(value, f"{name} {number}")


def agree(first: list[float], second: list[float]) -> bool:
    """Tells whether two intervals overlap."""
    return first[1] <= second[2] and second[1] <= first[2]


if __name__ == "__main__":
    main()
