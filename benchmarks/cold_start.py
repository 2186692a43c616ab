"""Time to the first result: boats-predict, a minimal script, and a script with PyTorch.

    python benchmarks/cold_start.py

Complete processes up to the printed label, in interleaved trials, for ResNet50 and MobileNetV2 in
int8. The minimal script imports NumPy, ONNX Runtime and Pillow, loads the same file and runs it
once. The script with PyTorch does the same with the float32 network. Files are in the page cache,
and bytecode is compiled, as after an installation with pip. Exits with 5 if a target is missed.
"""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import Estimate, TimingSettings, compare
from boats_train.models.backbone import build_backbone
from suite.harness import ScriptResult, run_script
from suite.synthetic_models import draw_images, load_networks, write_model

BACKBONES = ("resnet50", "mobilenet_v2")
CHILDREN = Path(__file__).parent / "suite" / "children"

NEXT_TO_TORCH = "boats, next to torch"

MAX_SHARE = 1.3
"""Target: time relative to the minimal script."""

MIN_SPEEDUP = 5.0
"""Target: speedup over the script with PyTorch."""


def measure(rounds: int = 40, torch_rounds: int = 3) -> ScriptResult:
    """Time the processes; `torch_rounds` is the number of rounds with the slow PyTorch script."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        image = draw_images(folder / "images", 1)[0]
        rows = [
            compare_processes(backbone, folder, image, rounds, torch_rounds)
            for backbone in BACKBONES
        ]
    missed = []
    for row in rows:
        if row["share_of_bare"][0] > MAX_SHARE:
            missed.append(f"{row['backbone']}: more than {MAX_SHARE} of the minimal script's time")
        if row["times_faster_than_torch"][0] < MIN_SPEEDUP:
            missed.append(f"{row['backbone']}: not {MIN_SPEEDUP} times as fast as with PyTorch")
    return ScriptResult(to_markdown(rows), {"cold_start": rows}, missed)


def compare_processes(
    backbone: str, folder: Path, image: Path, rounds: int, torch_rounds: int
) -> dict[str, Any]:
    """Time boats with the minimal script, and then boats with the PyTorch script."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    model = write_model(load_networks(backbone)["int8"], folder / f"{backbone}.onnx")
    weights = folder / f"{backbone}.pth"
    torch.save(build_backbone(backbone).state_dict(), weights)
    predict = Path(sys.executable).with_name("boats-predict")
    threads = len(os.sched_getaffinity(0))
    bare, pytorch = (CHILDREN / f"predict_{name}.py" for name in ("bare", "torch"))
    commands: dict[str, list[object]] = {
        "boats": [predict, "--provider", "cpu", "--model", model, image],
        "bare": [sys.executable, bare, model, image, threads],
        "torch": [sys.executable, pytorch, weights, image, threads, backbone],
    }
    tasks = {name: partial(run_process, command, environment) for name, command in commands.items()}
    torch_task = tasks.pop("torch")
    row = compare(tasks, TimingSettings(1, min_rounds=rounds), {"share_of_bare": ("boats", "bare")})
    slow = compare(
        {NEXT_TO_TORCH: tasks["boats"], "torch": torch_task},
        TimingSettings(1, min_rounds=torch_rounds),
        {"times_faster_than_torch": ("torch", NEXT_TO_TORCH)},
    )
    return {"backbone": backbone, **row, **slow, "times": row["times"] | slow["times"]}


def run_process(command: list[object], environment: dict[str, str]) -> None:
    """Run a process that must succeed."""
    subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment)


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table."""
    header = (
        "int8 file", "boats-predict ms", "minimal script ms", "PyTorch script ms",
        "share of minimal (95%)", "times as fast as PyTorch (95%)",
    )  # fmt: skip
    lines = []
    for row in rows:
        times = [f"{row['times'][name]['p50_ms']:.0f}" for name in ("boats", "bare", "torch")]
        ratios = [
            Estimate(*row[key]).format() for key in ("share_of_bare", "times_faster_than_torch")
        ]
        lines.append([row["backbone"], *times, *ratios])
    return format_markdown(header, lines)


if __name__ == "__main__":
    run_script(measure)
