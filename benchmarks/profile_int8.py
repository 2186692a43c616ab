"""Profiles of an int8 network in ONNX Runtime and in OpenVINO, by kind of operation.

    python benchmarks/profile_int8.py

ResNet50 at 240x800 with the same threads, several runs per trial. The medians of the nodes are
summed by kind of operation. Profiling itself takes a little time. OpenVINO includes additions in
the preceding convolution.
"""

import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from boats_benchmark.report import format_markdown
from boats_runtime.cpu import granted_cpus
from boats_runtime.model_session import INPUT
from boats_runtime.providers.wheels import import_onnxruntime
from suite.harness import ScriptResult, run_script
from suite.peer_runtimes import create_openvino_request
from suite.synthetic_models import load_networks, make_pixels, write_model

RUNS = 8
"""Number of runs in a trial."""

ADDITIONS, OTHERS = "residual additions", "everything else"

NodeTimes = dict[str, dict[str, list[float]]]
"""Duration of each run in milliseconds, by kind of operation and name of the node."""


def measure(backbone: str = "resnet50", trials: int = 8) -> ScriptResult:
    """Profile both runtimes with the same file."""
    network = load_networks(backbone)["int8"]
    kinds = find_convolutions(network)
    feeds = {INPUT: make_pixels()}
    openvino_times: NodeTimes = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as scratch:
        path = write_model(network, Path(scratch, "int8.onnx"))
        session = open_profiled_session(path, Path(scratch, "profile"))
        request = open_openvino(path)
        for _ in range(trials):
            for _ in range(RUNS):
                session.run(None, feeds)
            for _ in range(RUNS if request else 0):
                request.infer(feeds)
                for node in request.get_profiling_info():
                    kind = kinds.get(node.node_name, OTHERS)
                    duration_ms = node.real_time.total_seconds() * 1000
                    openvino_times[kind][node.node_name].append(duration_ms)
        totals = {"ONNX Runtime": sum_medians(read_profile(Path(session.end_profiling()), kinds))}
    if request is not None:
        totals["OpenVINO"] = sum_medians(openvino_times)
    return ScriptResult(to_markdown(totals), {"profiles": totals})


def find_convolutions(network: onnx.ModelProto) -> dict[str, str]:
    """Return the kind of each convolution, by the name of the node."""
    return {
        node.name: "convolutions of {}x{}".format(*attribute.ints)
        for node in network.graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "kernel_shape"
    }


def open_profiled_session(path: Path, prefix: Path) -> Any:
    """Open a file in ONNX Runtime with profiling."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = granted_cpus()
    # Spinning threads would take CPU time from the other runtime.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def open_openvino(path: Path) -> Any:
    """Open a file in OpenVINO with profiling; None if OpenVINO is not installed."""
    try:
        return create_openvino_request(path, "f32", PERF_COUNT=True)
    except ImportError:
        return None


def read_profile(path: Path, kinds: dict[str, str]) -> NodeTimes:
    """Read a profile of ONNX Runtime."""
    times: NodeTimes = defaultdict(lambda: defaultdict(list))
    for event in json.loads(path.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            # The name of a fused node is that of its first node with a suffix.
            name = event["name"].partition("_token_")[0]
            default = ADDITIONS if event["args"]["op_name"] == "QLinearAdd" else OTHERS
            times[kinds.get(name, default)][event["name"]].append(event["dur"] / 1000)
    return times


def sum_medians(times: NodeTimes) -> dict[str, float]:
    """Return the sum of the median durations of the nodes, by kind of operation."""
    return {
        kind: float(sum(np.median(values) for values in nodes.values()))
        for kind, nodes in times.items()
    }


def to_markdown(totals: dict[str, dict[str, float]]) -> str:
    """Return the table."""
    onnxruntime_ms = totals["ONNX Runtime"]
    kinds = sorted(
        {kind for runtime in totals.values() for kind in runtime},
        key=lambda kind: (kind == OTHERS, -onnxruntime_ms.get(kind, 0), kind),
    )
    runtimes = totals.values()
    rows = [
        [kind, *(f"{times[kind]:.2f}" if kind in times else "included" for times in runtimes)]
        for kind in kinds
    ]
    rows.append(["all nodes", *(f"{sum(times.values()):.2f}" for times in runtimes)])
    table = format_markdown(("ms per image", *totals), rows)
    if "OpenVINO" not in totals:
        table += "\n\nOpenVINO is not installed, see requirements/bench.txt."
    return table


if __name__ == "__main__":
    run_script(measure)
