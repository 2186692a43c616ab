"""How long a first answer takes: boats-predict beside a bare script, and beside one with PyTorch.

    python benchmarks/cold_start.py

Whole processes, from nothing to a printed label, in turns, for int8 ResNet50 and MobileNetV2. The
bare script imports NumPy, ONNX Runtime and Pillow, loads the same file and runs it once. The one
with torch does the same with the float32 network. Files are in the disk's cache, and Python's
bytecode beside them, as pip leaves it. Exits with 5 if a target is missed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from boats_benchmark.timing import Plan, measure, median_ratio, summarise
from boats_train.models.backbone import build_backbone
from suite.harness import Result, run_script, tell
from suite.synthetic_models import draw_photos, make_file, make_networks

BACKBONES = ("resnet50", "mobilenet_v2")
SIDES = ("boats", "bare", "torch")
LARGEST_SHARE = 1.3
"""Of the bare script's time."""

TIMES_FASTER = 5.0
"""Than the script with torch."""

BARE = """
import sys
import numpy as np
import onnxruntime
from PIL import Image
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
with Image.open(sys.argv[2]) as image:
    pixels = np.asarray(image.convert("RGB").resize((800, 240), Image.Resampling.BILINEAR))
print(session.run(["label"], {"image": pixels[None]})[0])
"""

TORCH = """
import sys
import numpy as np
import torch
import torchvision
from PIL import Image
torch.set_num_threads(int(sys.argv[3]))
network = getattr(torchvision.models, sys.argv[4])(num_classes=16)
network.load_state_dict(torch.load(sys.argv[1], weights_only=True), strict=False)
network.eval()
with Image.open(sys.argv[2]) as image:
    pixels = np.array(image.convert("RGB").resize((800, 240), Image.Resampling.BILINEAR))
with torch.inference_mode():
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    print(network((batch - mean[:, None, None]) / std[:, None, None]).argmax(1))
"""


def main() -> None:
    """Measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--torch-rounds", type=int, default=3)
    run_script(parser, judge)


def judge(options: argparse.Namespace) -> Result:
    """Measures, and holds the result against the targets."""
    rows = compare(options.rounds, options.torch_rounds)
    missed = []
    for row in rows:
        if row["share_of_bare"][0] > LARGEST_SHARE:
            missed.append(f"{row['backbone']}: more than {LARGEST_SHARE} of the bare script's time")
        if row["times_faster_than_torch"][0] < TIMES_FASTER:
            missed.append(f"{row['backbone']}: not {TIMES_FASTER} times as fast as with torch")
    return Result(to_markdown(rows), {"cold_start": rows}, missed)


def compare(rounds: int, torch_rounds: int) -> list[dict[str, Any]]:
    """Measures boats and the bare script in turns, then boats and the slow script with PyTorch."""
    with tempfile.TemporaryDirectory() as passing:
        folder = Path(passing)
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        photo = draw_photos(folder / "drawn", 1)[0]
        tasks = {}
        for backbone in BACKBONES:
            model = make_file(make_networks(backbone)["int8"], folder / f"{backbone}.onnx")
            weights = folder / f"{backbone}.pth"
            torch.save(build_backbone(backbone).state_dict(), weights)
            program = Path(sys.executable).parent / "boats-predict"
            threads = str(len(os.sched_getaffinity(0)))
            script = [sys.executable, "-c"]
            commands = {
                "boats": [program, "--provider", "cpu", "--model", model, photo],
                "bare": [*script, BARE, model, photo, threads],
                "torch": [*script, TORCH, weights, photo, threads, backbone],
            }
            for name, command in commands.items():
                tasks[f"{backbone} {name}"] = partial(run, command, environment)
        light, heavy = (
            measure(
                {name: task for name, task in tasks.items() if not name.endswith(left_out)},
                Plan(warm_up=1, min_count=count, min_seconds=0),
            )
            for left_out, count in (("torch", rounds), ("bare", torch_rounds))
        )
    rows = []
    for backbone in BACKBONES:
        boats, bare, slow = (f"{backbone} {name}" for name in SIDES)
        times = {"boats": light[boats], "bare": light[bare], "torch": heavy[slow]}
        rows.append(
            {
                "backbone": backbone,
                "times": {name: summarise(one) for name, one in times.items()},
                "share_of_bare": median_ratio(light[boats], light[bare]).to_json(),
                "times_faster_than_torch": median_ratio(heavy[slow], heavy[boats]).to_json(),
            }
        )
    return rows


def run(command: list[object], environment: dict[str, str]) -> None:
    """Runs a process that must succeed."""
    subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment)


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the table."""
    lines = [
        "| int8 file | boats-predict ms | bare script ms | torch script ms "
        "| share of bare (95%) | times faster than torch (95%) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        times = " | ".join(
            f"{row['times'][name]['p50_ms']:.0f}" for name in ("boats", "bare", "torch")
        )
        share, faster = (tell(row[key]) for key in ("share_of_bare", "times_faster_than_torch"))
        lines.append(f"| {row['backbone']} | {times} | {share} | {faster} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
