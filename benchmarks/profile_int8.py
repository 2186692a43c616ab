"""Where the time of an int8 photo goes: ONNX Runtime's profile beside OpenVINO's, on one file.

    python benchmarks/profile_int8.py

ResNet50 at 240x800, the same threads, several runs a turn; the median of each node, added up by
what it does. Profiling costs a little itself. OpenVINO adds within the convolution before.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from boats_runtime.classifier import INPUT
from boats_runtime.cpu import granted_cpus
from suite.harness import Result, run_script
from suite.peer_runtimes import request_openvino
from suite.synthetic_models import make_file, make_networks, make_pixels

RUNS = 8
"""Of a turn."""

ADDITIONS, OTHERS = "residual additions", "everything else"

Times = dict[str, dict[str, list[float]]]
"""Milliseconds of each run, by what was done and by the node's name."""


def main() -> None:
    """Profiles, prints a Markdown table and writes the values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--turns", type=int, default=8)
    run_script(parser, profile)


def profile(options: argparse.Namespace) -> Result:
    """Profiles both on the same file."""
    network = make_networks(options.backbone)["int8"]
    kernels = find_kernels(network)
    with tempfile.TemporaryDirectory() as passing:
        path = make_file(network, Path(passing) / "int8.onnx")
        session = open_session(path, Path(passing) / "profile")
        request = open_openvino(path)
        pixels = make_pixels()
        theirs: Times = defaultdict(lambda: defaultdict(list))
        for _ in range(options.turns):
            for _ in range(RUNS):
                session.run(None, {INPUT: pixels})
            for _ in range(RUNS if request else 0):
                request.infer({INPUT: pixels})
                for node in request.get_profiling_info():
                    kind = kernels.get(node.node_name, OTHERS)
                    spent = node.real_time.total_seconds() * 1000
                    theirs[kind][node.node_name].append(spent)
        ours = read_profile(Path(session.end_profiling()), kernels)
    sums = {"ONNX Runtime": add_up(ours)}
    if request is not None:
        sums["OpenVINO"] = add_up(theirs)
    return Result(to_markdown(sums), {"profiles": sums})


def find_kernels(network: onnx.ModelProto) -> dict[str, str]:
    """Returns what each convolution is, by its name."""
    return {
        node.name: "convolutions of {}x{}".format(*attribute.ints)
        for node in network.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "kernel_shape"
    }


def open_session(path: Path, prefix: Path) -> Any:
    """Opens a file with ONNX Runtime, profiled."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = granted_cpus()
    # Threads that spin after a run would take the cores from the other side's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def open_openvino(path: Path) -> Any:
    """Opens a file with OpenVINO, profiled; None where it is not installed."""
    try:
        return request_openvino(path, "f32", PERF_COUNT=True)
    except ImportError:
        return None


def read_profile(path: Path, kernels: dict[str, str]) -> Times:
    """Reads ONNX Runtime's profile: the times of each node, by what it does."""
    times: Times = defaultdict(lambda: defaultdict(list))
    for event in json.loads(path.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            # It names a node that it has fused after the first, with something behind.
            name = event["name"].partition("_token_")[0]
            kind = ADDITIONS if event["args"]["op_name"] == "QLinearAdd" else OTHERS
            times[kernels.get(name, kind)][event["name"]].append(event["dur"] / 1000)
    return times


def add_up(times: Times) -> dict[str, float]:
    """Adds the medians of the nodes, by what they do."""
    return {
        kind: float(sum(np.median(spent) for spent in nodes.values()))
        for kind, nodes in times.items()
    }


def to_markdown(sums: dict[str, dict[str, float]]) -> str:
    """Returns the table."""
    kinds = dict.fromkeys(kind for one in sums.values() for kind in one)
    ordered = sorted(kinds, key=lambda kind: (kind == OTHERS, -sums["ONNX Runtime"].get(kind, 0)))
    lines = [
        f"| ms of a photo | {' | '.join(sums)} |",
        f"| --- |{' ---: |' * len(sums)}",
    ]
    for kind in ordered:
        cells = [f"{one[kind]:.2f}" if kind in one else "within" for one in sums.values()]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    totals = [f"{sum(one.values()):.2f}" for one in sums.values()]
    lines.append(f"| all nodes | {' | '.join(totals)} |")
    if "OpenVINO" not in sums:
        lines.append("\nOpenVINO is not installed: requirements/bench.txt has it.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
