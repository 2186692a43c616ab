"""A folder of photos through boats beside a bare session on ready-made tensors, and its memory.

    python benchmarks/folder.py

All sides have the same int8 file, batch and threads; boats also finds, reads, decodes and resizes
the photos. boats-predict lets waiting threads sleep in a folder; threads that spin are measured
beside it. Memory is the peak of `boats-predict folder` as a process of its own, for few and for
many photos. Exits with 5 if a target is missed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from boats_benchmark.timing import Plan, measure, median_ratio, summarise
from boats_runtime.classifier import INPUT, Classifier
from boats_runtime.errors import ImageError
from suite.harness import Result, run_script, tell
from suite.synthetic_models import draw_photos, make_file, make_networks

PHOTOS = 500
COUNTS = (200, 2000)
"""Photos in the folders whose memory is compared."""

SIDES = {
    "sleep": "boats, waiting threads sleep",
    "spin": "boats, waiting threads spin",
    "bare": "bare session",
}

SMALLEST_SHARE = 0.9
"""Of the bare session's photos a second."""

LARGEST_MB = 350.0
LARGEST_GROWTH = 1.1

LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss / 1000)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main() -> None:
    """Measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=3)
    run_script(parser, judge)


def judge(options: argparse.Namespace) -> Result:
    """Measures, and holds the result against the targets."""
    with tempfile.TemporaryDirectory() as passing:
        folder = Path(passing)
        model = make_file(make_networks(options.backbone)["int8"], folder / "boats.onnx")
        photos = draw_photos(folder / "drawn", 50)
        result = {
            "backbone": options.backbone,
            "rates": compare(model, (photos * PHOTOS)[:PHOTOS], options.rounds),
            "peak_mb": {
                count: peak_of(model, fill(folder / str(count), photos, count)) for count in COUNTS
            },
        }
    few, many = (result["peak_mb"][count] for count in COUNTS)
    missed = []
    if result["rates"]["share"][0] < SMALLEST_SHARE:
        missed.append(f"less than {SMALLEST_SHARE} of the bare session's speed")
    if max(few, many) > LARGEST_MB:
        missed.append(f"more than {LARGEST_MB} MB of memory")
    if many > few * LARGEST_GROWTH:
        missed.append("memory grows with the folder")
    return Result(to_markdown(result), {"folder": result}, missed)


def compare(model: Path, photos: list[Path], rounds: int) -> dict[str, Any]:
    """Measures boats, with threads that sleep and that spin, and the bare session in turns."""
    tasks: dict[str, Callable[[], object]] = {}
    for way, spin in (("sleep", False), ("spin", True)):
        classifier = Classifier(model, "cpu", spin=spin)
        tasks[way] = partial(run_boats, classifier, photos)
        if not spin:
            batch = np.stack([classifier.prepare(path) for path in photos[: classifier.batch]])
            tasks["bare"] = partial(run_bare, classifier, batch, len(photos))
    values = measure(tasks, Plan(warm_up=0, min_count=rounds, min_seconds=0))
    return {
        "times": {name: summarise(times) for name, times in values.items()},
        "share": median_ratio(values["bare"], values["sleep"]).to_json(),
        "share_of_spin": median_ratio(values["spin"], values["sleep"]).to_json(),
    }


def run_boats(classifier: Classifier, photos: list[Path]) -> None:
    """Classifies the photos from their files."""
    for outcome in classifier.predict_many(photos):
        if isinstance(outcome, ImageError):
            raise outcome


def run_bare(classifier: Classifier, batch: np.ndarray, count: int) -> None:
    """Runs the session itself on the same ready tensor, as often as the photos fill batches."""
    session = classifier._session
    for start in range(0, count, len(batch)):
        session.run(None, {INPUT: batch[: min(len(batch), count - start)]})


def fill(folder: Path, photos: list[Path], count: int) -> Path:
    """Makes a folder of so many photos, links to the same few."""
    folder.mkdir()
    for number in range(count):
        os.link(photos[number % len(photos)], folder / f"{number:06}.jpg")
    return folder


def peak_of(model: Path, folder: Path) -> float:
    """Returns the peak of memory of `boats-predict` on a folder, in MB (10^6 bytes)."""
    program = Path(sys.executable).parent / "boats-predict"
    words = [program, "--provider", "cpu", "--model", model, "--jsonl", folder]
    # A small process starts it: Linux counts the peak of whoever starts a process as its own.
    command = [sys.executable, "-S", "-c", LAUNCHER, *map(str, words)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def to_markdown(result: dict[str, Any]) -> str:
    """Returns the table."""
    rates = result["rates"]
    lines = [
        f"{PHOTOS} photos, {result['backbone']} int8:\n",
        "| | photos/s |",
        "| --- | ---: |",
    ]
    for name, told in SIDES.items():
        lines.append(f"| {told} | {PHOTOS / rates['times'][name]['p50_ms'] * 1000:.1f} |")
    peaks = ", ".join(f"{peak:.0f} MB for {n:,} photos" for n, peak in result["peak_mb"].items())
    lines += [
        f"\nboats reaches {tell(rates['share'], 3)} of the bare session's speed, and "
        f"{tell(rates['share_of_spin'], 3)} of its own with threads that spin",
        f"\npeak memory of boats-predict: {peaks}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
