"""`make demo`: the three commands as a newcomer types them, and how well the file did."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path("build/demo")
TILE = (320, 96)
COLUMNS = 3
COMMANDS = Path(sys.executable).parent


def main() -> None:
    """Runs the demo in `build/demo`, afresh."""
    started = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print(f"$ cd {FOLDER}")
    run("boats-train --demo")
    run("boats-export --format onnx")
    photos = sorted(path.relative_to(FOLDER) for path in (FOLDER / "data/test").glob("*/*.jpg"))
    first = next(photo for photo in photos if photo.parent.name == "gondola")
    run(f"boats-predict {first}")
    output = run("boats-predict --json data/test/*/*.jpg", [str(photo) for photo in photos])
    predictions = json.loads(output)["predictions"]
    print_table(predictions)
    draw_sheet(predictions, FOLDER / "predictions.png")
    print(f"all of it in {time.monotonic() - started:.0f} s; to look at: {FOLDER}/predictions.png")


def run(line: str, photos: list[str] | None = None) -> str:
    """Runs a command line in the demo's folder.

    Args:
        line: As typed and printed.
        photos: What the shell would make of its last word; the output is then returned, not shown.
    """
    print(f"\n$ {line}", flush=True)
    words = shlex.split(line) if photos is None else [*shlex.split(line)[:-1], *photos]
    result = subprocess.run(
        [COMMANDS / words[0], *words[1:]],
        cwd=FOLDER,
        text=True,
        stdout=subprocess.PIPE if photos else None,
        check=False,
    )
    if result.returncode:
        sys.exit(result.returncode)
    return result.stdout or ""


def print_table(predictions: list[dict[str, Any]]) -> None:
    """Prints each photo's prediction beside its folder's name, and the accuracy."""
    print(f"{'photo':32} {'predicted':12} score")
    right = 0
    for prediction in predictions:
        path = Path(str(prediction["path"]))
        hit = prediction["label"] == path.parent.name
        right += hit
        photo = path.relative_to("data/test")
        print(
            f"{photo!s:32} {prediction['label']:12} {prediction['score']:.3f} {'' if hit else 'x'}"
        )
    print(
        f"\naccuracy of boats.onnx on the demo's test photos: {right / len(predictions):.3f} "
        f"({right} of {len(predictions)})"
    )


def draw_sheet(predictions: list[dict[str, Any]], path: Path) -> None:
    """Draws two photos of each class with what the file said of them."""
    chosen = []
    for _, photos in groupby(predictions, key=lambda one: Path(one["path"]).parent.name):
        chosen.extend(list(photos)[:2])
    rows = -(-len(chosen) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (TILE[0] + 12) + 12, rows * (TILE[1] + 36) + 12), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    for place, one in enumerate(chosen):
        left = 12 + place % COLUMNS * (TILE[0] + 12)
        top = 12 + place // COLUMNS * (TILE[1] + 36)
        with Image.open(FOLDER / one["path"]) as photo:
            sheet.paste(photo.resize(TILE, Image.Resampling.LANCZOS), (left, top))
        hit = one["label"] == Path(one["path"]).parent.name
        text = f"{one['label']} {one['score']:.2f}"
        pen.text((left, top + TILE[1] + 4), text, "#1d5c3a" if hit else "#b3261e", font)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main()
