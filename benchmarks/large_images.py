"""Images per second from JPEG files of 12 megapixels: boats and ways to write it by hand.

    python benchmarks/large_images.py

MobileNetV2 at the size that `--image-size auto` chooses for images of 4000x3000 pixels, on the CPU.
Every backend decodes, resizes and classifies the same 8 files, which are drawn like images from a
camera and have quality 90, with as many threads as its documentation recommends for a folder. boats
and OpenCV use the same int8 file; PyTorch and Ultralytics run the same network in float32 without
the SVM. Version 1 of the preprocessing is that of older files. The backends are timed in
interleaved trials in each of several starts, and the intervals include the differences between
starts. Exits with 5 if a target is missed.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import MIN_STARTS, Estimate, estimate_ratio, summarize
from boats_data.image_sizes import choose_size
from boats_runtime.preprocessing import Preprocessing
from suite.harness import ScriptResult, run_module, run_script
from suite.large_image_runtimes import (
    INT8,
    INT8_VERSION_1,
    OPENCV,
    OPENCV_THREADS,
    TORCH,
    ULTRALYTICS,
    parse_size,
    write_files,
)
from suite.large_images import HEIGHT, IMAGES, WIDTH

MIN_SPEEDUP = 2.5
"""Target: speedup over version 1 of the preprocessing."""


def measure(
    backbone: str = "mobilenet_v2", starts: int = MIN_STARTS, rounds: int = 2, size: str = "auto"
) -> ScriptResult:
    """Time all backends, with `rounds` rounds in each start."""
    if size == "auto":
        size = "x".join(map(str, choose_size((HEIGHT, WIDTH))))
    outputs = []
    with tempfile.TemporaryDirectory() as folder:
        write_files(backbone, parse_size(size), Path(folder))
        difference = compare_versions(parse_size(size), Path(folder, "images"))
        for seed in range(starts):
            outputs.append(time_backends(folder, backbone, size, rounds, seed))
            print(f"start {seed + 1} of {starts}", file=sys.stderr)
    missing: list[str] = outputs[0]["missing"]
    values = {
        name: np.array([output["values"][name] for output in outputs])
        for name in outputs[0]["values"]
    }
    rows = {
        name: summarize(times)
        | {
            "images_per_second": IMAGES * 1e9 / float(np.median(times)),
            "boats_times_faster": estimate_ratio(times, values[INT8]).to_list(),
        }
        for name, times in values.items()
    }
    missed = find_missed_targets(rows)
    content = {
        "backbone": backbone, "size": size, "backends": rows, "missing": missing,
        "mean_difference": difference,
    }  # fmt: skip
    table = to_markdown(rows, f"{backbone} at {size}", missing)
    table += f"\n\nmean difference between the pixels of version 1 and 2: {difference:.2f} of 255"
    return ScriptResult(table, content, missed)


def compare_versions(preprocessing: Preprocessing, images: Path) -> float:
    """Return the mean difference between the pixels of both versions of the preprocessing."""
    differences = []
    for path in images.iterdir():
        new, old = (replace(preprocessing, version=version).read(path) for version in (2, 1))
        differences.append(np.abs(new.astype(np.int16) - old).mean())
    return float(np.mean(differences))


def time_backends(folder: str, backbone: str, size: str, rounds: int, seed: int) -> dict[str, Any]:
    """Time all backends in a new process, see `suite.large_image_runtimes`."""
    return run_module(
        "suite.large_image_runtimes", folder, "--backbone", backbone, "--size", size,
        "--rounds", rounds, "--seed", seed,
    )  # fmt: skip


def find_missed_targets(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each target that was missed."""
    targets = dict.fromkeys((OPENCV, OPENCV_THREADS, TORCH, ULTRALYTICS), 1.0)
    targets[INT8_VERSION_1] = MIN_SPEEDUP
    return [
        f"{INT8}: {rows[name]['boats_times_faster'][0]:.2f} times as fast as {name}, not {target}"
        for name, target in targets.items()
        if name in rows and rows[name]["boats_times_faster"][0] < target
    ]


def to_markdown(rows: dict[str, dict[str, Any]], subject: str, missing: list[str]) -> str:
    """Return the table, the fastest backend first."""
    cells = [
        (name, f"{row['images_per_second']:.1f}", Estimate(*row["boats_times_faster"]).format())
        for name, row in sorted(rows.items(), key=lambda item: -item[1]["images_per_second"])
    ]
    header = (subject, "images/s", f"{INT8} is so many times as fast (95%)")
    lines = [format_markdown(header, cells), *(f"\n{message}." for message in missing)]
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(measure)
