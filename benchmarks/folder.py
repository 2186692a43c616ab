"""Throughput of a folder of images through boats and a bare session, and peak memory.

    python benchmarks/folder.py

Both use the same int8 file, batch size and threads. boats also finds, reads, decodes and resizes
the images; the session gets prepared arrays. For a folder, boats-predict lets idle threads sleep;
spinning threads are measured too. The peak memory is that of a `boats-predict` process, for a small
and a large folder. Exits with 5 if a target is missed.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import Estimate, Task, TimingSettings, compare
from boats_runtime.classifier import Classifier
from boats_runtime.model_session import INPUT
from boats_runtime.prediction import Failure
from suite.harness import ScriptResult, run_script
from suite.synthetic_models import draw_images, load_networks, write_model

TITLES = {
    "sleep": "boats, idle threads sleep",
    "spin": "boats, idle threads spin",
    "bare": "bare session",
}
MEASURE_MEMORY = Path(__file__).parent / "suite" / "children" / "measure_memory.py"

IMAGES = 500
FOLDER_SIZES = (200, 2000)
"""Numbers of images in the folders whose peak memory is compared."""

MIN_SHARE = 0.9
"""Target: throughput relative to the bare session."""

MAX_MEGABYTES = 350.0
MAX_GROWTH = 1.1
"""Target: peak memory of the large folder relative to the small one."""


def measure(backbone: str = "resnet50", rounds: int = 3, images: int = IMAGES) -> ScriptResult:
    """Time a folder of `images` images, and measure the peak memory."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = write_model(load_networks(backbone)["int8"], folder / "boats.onnx")
        paths = draw_images(folder / "images", 50)
        result: dict[str, Any] = {
            "backbone": backbone,
            "images": images,
            "rates": compare_rates(model, (paths * images)[:images], rounds),
            "peak_mb": {
                size: measure_peak(model, fill_folder(folder / str(size), paths, size))
                for size in FOLDER_SIZES
            },
        }
    small, large = result["peak_mb"].values()
    missed = []
    if result["rates"]["share"][0] < MIN_SHARE:
        missed.append(f"less than {MIN_SHARE} of the throughput of the bare session")
    if max(small, large) > MAX_MEGABYTES:
        missed.append(f"more than {MAX_MEGABYTES} MB of memory")
    if large > small * MAX_GROWTH:
        missed.append("the peak memory grows with the folder")
    return ScriptResult(to_markdown(result), {"folder": result}, missed)


def compare_rates(model: Path, paths: list[Path], rounds: int) -> dict[str, Any]:
    """Time boats with sleeping and with spinning threads, and the bare session."""
    sleep, spin = (Classifier(model, "cpu", spin=spin) for spin in (False, True))
    batch = np.stack([sleep.prepare(path) for path in paths[: sleep.batch]])
    tasks: dict[str, Task] = {
        "sleep": partial(run_boats, sleep, paths),
        "spin": partial(run_boats, spin, paths),
        "bare": partial(run_session, sleep._session, batch, len(paths)),
    }
    ratios = {"share": ("bare", "sleep"), "share_of_spin": ("spin", "sleep")}
    return compare(tasks, TimingSettings(0, min_rounds=rounds), ratios)


def run_boats(classifier: Classifier, paths: list[Path]) -> None:
    """Classify image files."""
    for outcome in classifier.predict_many(paths):
        if isinstance(outcome, Failure):
            raise outcome


def run_session(session: Any, batch: NDArray[np.uint8], count: int) -> None:
    """Run a session on the same batch until as many images are classified."""
    for start in range(0, count, len(batch)):
        session.run(None, {INPUT: batch[: min(len(batch), count - start)]})


def fill_folder(folder: Path, paths: list[Path], count: int) -> Path:
    """Create a folder of links to the same few images."""
    folder.mkdir()
    for number in range(count):
        os.link(paths[number % len(paths)], folder / f"{number:06}.jpg")
    return folder


def measure_peak(model: Path, folder: Path) -> float:
    """Return the peak memory of `boats-predict` for a folder, in MB."""
    predict = Path(sys.executable).with_name("boats-predict")
    command: list[str | Path] = [sys.executable, "-S", MEASURE_MEMORY]
    command += [predict, "--provider", "cpu", "--model", model, "--jsonl", folder]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def to_markdown(result: dict[str, Any]) -> str:
    """Return the table."""
    rates, images = result["rates"], result["images"]
    throughputs = [
        (title, f"{images / rates['times'][name]['p50_ms'] * 1000:.1f}")
        for name, title in TITLES.items()
    ]
    share, share_of_spin = (Estimate(*rates[key]).format(3) for key in ("share", "share_of_spin"))
    peaks = [f"{peak:.0f} MB for {size:,} images" for size, peak in result["peak_mb"].items()]
    return (
        f"{images} images, {result['backbone']} int8:\n\n"
        f"{format_markdown(('', 'images/s'), throughputs)}\n\n"
        f"boats reaches {share} of the throughput of the bare session, and {share_of_spin} of its "
        f"own throughput with spinning threads\n\n"
        f"peak memory of boats-predict: {', '.join(peaks)}"
    )


if __name__ == "__main__":
    run_script(measure)
