"""Latency of one network: boats, PyTorch, OpenVINO, Ultralytics, and other ways to run the SVM.

    python benchmarks/peers.py

ResNet50 at 240x800, one image at a time, on the CPU, with the same number of threads. PyTorch runs
the network without the SVM, which is in its favor; all others include it. OpenVINO reads the files
of boats; bfloat16 is a hint. The searched model is a smaller network in place of ResNet50, which a
recorded search recommends. "From a file" includes decoding and resizing; there, Ultralytics runs
the same network with a linear layer instead of the SVM. The backends are timed in interleaved
trials in each of several starts, and the intervals include the differences between starts. Exits
with 5 if a target is missed.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import (
    MIN_STARTS,
    Estimate,
    describe_difference,
    estimate_ratio,
    summarize,
)
from suite.harness import ScriptResult, run_module, run_script
from suite.peer_runtimes import (
    EAGER,
    FP32,
    FP32_FILE,
    INT8,
    OPENVINO_INT8,
    ULTRALYTICS,
    write_files,
)
from suite.searched_model import read_searched_model

MIN_SPEEDUPS = {INT8: 5.0, FP32: 1.6}
"""Targets: speedup over `EAGER`."""

MAX_OPENVINO_SHARE = 1.1
"""Target: latency of boats in int8 relative to OpenVINO with the same file."""

SHARES = {"of_openvino": (INT8, OPENVINO_INT8), "of_ultralytics": (FP32_FILE, ULTRALYTICS)}
"""Pairs of backends whose latencies are compared, in addition to `EAGER`."""


def measure(backbone: str = "resnet50", starts: int = MIN_STARTS, rounds: int = 4) -> ScriptResult:
    """Time all backends, with `rounds` rounds in each start."""
    outputs = []
    with tempfile.TemporaryDirectory() as folder:
        write_files(backbone, Path(folder))
        for seed in range(starts):
            outputs.append(time_backends(folder, backbone, rounds, seed))
            print(f"start {seed + 1} of {starts}", file=sys.stderr)
    missing: list[str] = outputs[0]["missing"]
    values = {
        name: np.array([output["values"][name] for output in outputs])
        for name in outputs[0]["values"]
    }
    rows = {
        name: summarize(times) | {"times_faster": estimate_ratio(values[EAGER], times).to_list()}
        for name, times in values.items()
    }
    shares = {
        key: estimate_ratio(values[name], values[peer]).to_list()
        for key, (name, peer) in SHARES.items()
        if peer in values
    }
    missed = [
        f"{name}: {rows[name]['times_faster'][0]:.2f} times as fast as {EAGER}, not {speedup}"
        for name, speedup in MIN_SPEEDUPS.items()
        if rows[name]["times_faster"][0] < speedup
    ]
    if shares.get("of_openvino", [0])[0] > MAX_OPENVINO_SHARE:
        missed.append(f"{INT8}: more than {MAX_OPENVINO_SHARE} of the latency of OpenVINO")
    content = {"peers": rows, "shares": shares, "missing": missing}
    searched = read_searched_model().description
    content["searched"] = searched
    table = f"{to_markdown(rows, shares, missing)}\n\n{searched}"
    return ScriptResult(table, content, missed)


def time_backends(folder: str, backbone: str, rounds: int, seed: int) -> dict[str, Any]:
    """Time all backends in a new process, see `suite.peer_runtimes`."""
    return run_module(
        "suite.peer_runtimes", folder, "--backbone", backbone, "--rounds", rounds, "--seed", seed
    )


def to_markdown(
    rows: dict[str, dict[str, Any]], shares: dict[str, list[float]], missing: list[str]
) -> str:
    """Return the table, in the order of the medians, and the comparisons of `SHARES`."""
    cells = []
    for name, row in sorted(rows.items(), key=lambda item: float(item[1]["p50_ms"])):
        times = [f"{row[key]:.1f}" for key in ("p50_ms", "p90_ms")]
        cells.append([name, *times, Estimate(*row["times_faster"]).format()])
    header = ("batch 1", "p50 ms", "p90 ms", f"times as fast as {EAGER} (95%)")
    lines = [format_markdown(header, cells)]
    for key, values in shares.items():
        name, peer = SHARES[key]
        share, starts = Estimate(*values), len(rows[name]["values_ns"])
        claim = describe_difference(share, starts)
        subject = f"**{name} is {claim}**" if claim else name
        line = f"\n{subject}: {share.format()} of the latency of {peer}."
        if starts < MIN_STARTS:
            line += f" A difference is claimed from {MIN_STARTS} starts; these are {starts}."
        lines.append(line)
    lines.extend(f"\n{message}." for message in missing)
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(measure)
