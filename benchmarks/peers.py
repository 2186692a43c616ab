"""The same network and photo through boats and through what else people run it with, in turns.

    python benchmarks/peers.py

ResNet50 at 240x800, one photo at a time, on the CPU, every side with the same threads. PyTorch runs
the network alone, which is in its favour; all others hold the SVM as well. OpenVINO reads boats'
own files, its bfloat16 is a hint to it. "From a file" is with decoding and resizing, there
Ultralytics' own path runs the same network with a linear layer for an SVM. All sides take turns in
each of several starts, and intervals count how starts differ. Exits with 5 if a target is missed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from boats_benchmark.timing import median_ratio, summarise
from suite.harness import Result, run_script, tell
from suite.peer_runtimes import EAGER, FP32, INT8, OPENVINO_INT8, ULTRALYTICS, WHOLE, write_files

TARGETS = {INT8: 5.0, FP32: 1.6}
"""Times as fast as `EAGER`."""

LARGEST_OF_OPENVINO = 1.1
"""Largest time of boats' int8 as a share of OpenVINO's on the same file."""

SHARES = {"of_openvino": (INT8, OPENVINO_INT8), "of_ultralytics": (WHOLE, ULTRALYTICS)}
"""Whose times are compared beside those with `EAGER`."""


def main() -> None:
    """Measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6, help="of each start")
    run_script(parser, compare)


def compare(options: argparse.Namespace) -> Result:
    """Measures all sides, start after start."""
    starts = []
    with tempfile.TemporaryDirectory() as passing:
        write_files(options.backbone, Path(passing))
        for seed in range(options.starts):
            starts.append(start_sides(passing, options.backbone, options.rounds, seed))
            print(f"start {seed + 1} of {options.starts}", file=sys.stderr)
    missing: list[str] = starts[0]["missing"]
    values = {
        name: np.array([start["values"][name] for start in starts]) for name in starts[0]["values"]
    }
    rows = {
        name: summarise(times) | {"times_faster": median_ratio(values[EAGER], times).to_json()}
        for name, times in values.items()
    }
    shares = {
        key: median_ratio(values[ours], values[theirs]).to_json()
        for key, (ours, theirs) in SHARES.items()
        if theirs in values
    }
    missed = [
        f"{name}: {rows[name]['times_faster'][0]:.2f} times as fast as {EAGER}, not {least}"
        for name, least in TARGETS.items()
        if rows[name]["times_faster"][0] < least
    ]
    if shares.get("of_openvino", [0])[0] > LARGEST_OF_OPENVINO:
        missed.append(f"{INT8}: more than {LARGEST_OF_OPENVINO} of OpenVINO's time")
    told = {"peers": rows, "shares": shares, "missing": missing}
    return Result(to_markdown(rows, shares, missing), told, missed)


def start_sides(folder: str, backbone: str, rounds: int, seed: int) -> dict[str, Any]:
    """Times all sides in a process of their own; see `sides.py`."""
    command = [sys.executable, str(Path(__file__).with_name("sides.py")), folder]
    command += ["--backbone", backbone, "--rounds", str(rounds), "--seed", str(seed)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return answer


def to_markdown(
    rows: dict[str, dict[str, Any]], shares: dict[str, list[float]], missing: list[str]
) -> str:
    """Returns the table, the quickest first, and where a peer is faster."""
    lines = [
        f"| batch 1 | p50 ms | p90 ms | times as fast as {EAGER} (95%) |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, row in sorted(rows.items(), key=lambda one: float(one[1]["p50_ms"])):
        faster = tell(row["times_faster"])
        lines.append(f"| {name} | {row['p50_ms']:.1f} | {row['p90_ms']:.1f} | {faster} |")
    for key, share in shares.items():
        ours, theirs = SHARES[key]
        verdict = "faster" if share[2] < 1 else "slower" if share[1] > 1 else "as fast"
        lines.append(f"\n**{ours} is {verdict}**: it takes {tell(share)} of the time of {theirs}.")
    lines.extend(f"\n{text}." for text in missing)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
