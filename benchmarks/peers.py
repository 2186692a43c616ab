"""The same network and photo through boats and through what else people run it with, in turns.

    python benchmarks/peers.py

ResNet50 at 240x800, one photo at a time, on the CPU, every side with the same threads. PyTorch runs
the network alone, which is in its favour; all others hold the SVM as well. OpenVINO reads boats'
own files, its bfloat16 is a hint to it. What is not installed is named, not guessed.
Exits with 1 if a target is missed.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from made_models import PREPROCESSING, add_svm, make_file, make_networks
from numpy.typing import NDArray
from onnx import compose
from svm_graph import convert_by_skl2onnx, fit

from boats_export.verify import open_cpu
from boats_runtime.circumstances import Circumstances, report
from boats_runtime.classifier import FEATURES, INPUT, Classifier
from boats_runtime.cpu import granted_cpus
from boats_runtime.measure import Plan, measure, median_ratio, summarise
from boats_train.backbone import build_backbone
from boats_train.network import FeatureNetwork

EAGER = "PyTorch eager fp32"
INT8 = "boats int8"
TARGETS = {INT8: 5.0, "boats fp32": 1.6}
"""Times as fast as `EAGER`."""

LARGEST_OF_OPENVINO = 1.1
"""Largest time of boats' int8 as a share of OpenVINO's on the same file."""

Task = Callable[[], object]


def main() -> None:
    """Measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/peers.json"))
    options = parser.parse_args()
    circumstances = Circumstances()
    rows, missing = compare(options.backbone, options.rounds)
    table = to_markdown(rows, missing)
    report(options.output, {"table": table, "peers": rows, "missing": missing}, circumstances)
    print(table)
    print(f"raw values: {options.output}", file=sys.stderr)
    slow = [name for name, least in TARGETS.items() if rows[name]["times_faster"][0] < least]
    beaten = INT8 if rows[INT8].get("of_openvino", [0])[0] > LARGEST_OF_OPENVINO else None
    if slow or beaten:
        print(f"target missed: {', '.join([*slow, *([beaten] if beaten else [])])}")
        sys.exit(1)


def compare(backbone: str, rounds: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Measures all sides in turns, a few runs in a row each."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 240, 800, 3), dtype=np.uint8)
    torch.set_num_threads(granted_cpus())
    networks = make_networks(backbone)
    tasks: dict[str, Task] = {}
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as passing:
        for name in ("fp32", "int8"):
            path = make_file(networks[name], Path(passing) / f"{name}.onnx")
            classifier = Classifier(path, "cpu", spin=True)
            tasks[f"boats {name}"] = partial(classifier.run, pixels)
    tasks |= make_stock(networks["fp32"], pixels)
    tasks |= make_torch(backbone, pixels)
    try:
        tasks |= make_openvino(networks, pixels)
    except ImportError:
        missing.append("OpenVINO is not installed: pip install openvino")
    missing.append("Ultralytics runs networks of its own, not this one: not compared")
    values = measure(tasks, Plan(warm_up=3, settle=1, turn=4, min_count=rounds, min_seconds=0))
    rows: dict[str, dict[str, Any]] = {}
    for name, times in values.items():
        ratio = median_ratio(values[EAGER], times)
        rows[name] = summarise(times) | {"times_faster": [ratio.value, ratio.low, ratio.high]}
    if "OpenVINO int8" in values:
        ratio = median_ratio(values[INT8], values["OpenVINO int8"])
        rows[INT8]["of_openvino"] = [ratio.value, ratio.low, ratio.high]
    return rows, missing


def make_stock(network: onnx.ModelProto, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Makes the sides with the SVM of skl2onnx and of scikit-learn, on the float32 network."""
    width = network.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    _, estimator = fit(width)
    head = onnx.load_model_from_string(convert_by_skl2onnx(estimator, width))
    head = compose.add_prefix(head, "stock/")
    whole = onnx.ModelProto()
    whole.CopyFrom(network)
    whole = compose.merge_models(
        expand_opsets(whole, head), head, io_map=[(FEATURES, f"stock/{FEATURES}")]
    )
    session, features = open_cpu(whole.SerializeToString()), open_cpu(network.SerializeToString())
    feeds = {INPUT: pixels}

    def by_scikit_learn() -> object:
        return estimator.predict_proba(features.run(None, feeds)[0].astype(np.float64))

    return {
        "ONNX Runtime, SVM of skl2onnx": partial(session.run, None, feeds),
        "ONNX Runtime, SVM of scikit-learn": by_scikit_learn,
    }


def expand_opsets(network: onnx.ModelProto, head: onnx.ModelProto) -> onnx.ModelProto:
    """Gives a network the domains of a head, so that both can be merged."""
    known = {one.domain for one in network.opset_import}
    network.opset_import.extend(one for one in head.opset_import if one.domain not in known)
    network.ir_version = head.ir_version
    return network


def make_torch(backbone: str, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Makes PyTorch's sides: as it comes, in the layout and the type that CPUs prefer, compiled."""

    def network() -> torch.nn.Module:
        return FeatureNetwork(build_backbone(backbone), PREPROCESSING).eval()

    plain, ordered = network(), network().to(memory_format=torch.channels_last)
    photo = torch.from_numpy(pixels)

    def run(model: Callable[[torch.Tensor], Any], half: bool = False) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return model(photo)

    tasks: dict[str, Task] = {
        EAGER: partial(run, plain),
        "PyTorch channels_last fp32": partial(run, ordered),
        "PyTorch channels_last bf16": partial(run, ordered, half=True),
    }
    compiled = torch.compile(network())
    tasks["torch.compile fp32"] = partial(run, compiled)
    return tasks


def make_openvino(
    networks: dict[str, onnx.ModelProto], pixels: NDArray[np.uint8]
) -> dict[str, Task]:
    """Makes OpenVINO's sides, on boats' own files.

    Raises:
        ImportError: It is not installed.
    """
    import openvino  # noqa: PLC0415 (a peer that need not be there)

    core = openvino.Core()
    tasks: dict[str, Task] = {}
    for name, file, precision in (
        ("fp32", "fp32", "f32"), ("bf16", "fp32", "bf16"), ("int8", "int8", "f32"),
    ):  # fmt: skip
        model = core.read_model(add_svm(networks[file]).SerializeToString())
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": granted_cpus(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        tasks[f"OpenVINO {name}"] = partial(request.infer, {INPUT: pixels})
    return tasks


def to_markdown(rows: dict[str, dict[str, Any]], missing: list[str]) -> str:
    """Returns the table, the quickest first."""
    lines = [
        f"| batch 1 | p50 ms | p90 ms | times as fast as {EAGER} (95%) |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, row in sorted(rows.items(), key=lambda one: float(one[1]["p50_ms"])):
        faster = "{:.2f} ({:.2f} to {:.2f})".format(*row["times_faster"])
        lines.append(f"| {name} | {row['p50_ms']:.1f} | {row['p90_ms']:.1f} | {faster} |")
    if "of_openvino" in rows[INT8]:
        share = "{:.2f} ({:.2f} to {:.2f})".format(*rows[INT8]["of_openvino"])
        lines.append(f"\n{INT8} takes {share} of OpenVINO's time on the same int8 file.")
    lines.extend(f"\n{text}." for text in missing)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
