"""`make demo`: run the commands on demo data as a user types them, and show the predictions."""

import json
import shlex
import shutil
import subprocess
import sys
import time
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path("build/demo")
COMMANDS = Path(sys.executable).parent

TILE_SIZE = (320, 96)
CAPTION_HEIGHT = 24
MARGIN = 12
COLUMNS = 3


def main() -> None:
    """Run the demo in a new folder `build/demo`."""
    start = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print(f"$ cd {FOLDER}")
    run("boats-train --demo")
    run("boats-export --format onnx")
    images = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("data/test/*/*.jpg"))
    gondola = next(image for image in images if "/gondola/" in image)
    run(f"boats-predict {gondola}")
    output = run("boats-predict --json data/test/*/*.jpg", images)
    predictions = json.loads(output)["predictions"]
    print_table(predictions)
    draw_sheet(predictions, FOLDER / "predictions.png")
    print(f"finished in {time.monotonic() - start:.0f} s; see {FOLDER}/predictions.png")


def run(line: str, images: list[str] | None = None) -> str:
    """Print and run a command line in the demo folder, and exit if it fails.

    `images` replace the last word, as a shell expands it; the output is then returned, not shown.
    """
    print(f"\n$ {line}", flush=True)
    command, *arguments = shlex.split(line)
    if images is not None:
        arguments[-1:] = images
    result = subprocess.run(
        [COMMANDS / command, *arguments],
        cwd=FOLDER,
        text=True,
        stdout=None if images is None else subprocess.PIPE,
        check=False,
    )
    if result.returncode:
        sys.exit(result.returncode)
    return result.stdout or ""


def get_class(prediction: dict[str, Any]) -> str:
    """Return the true class of an image: the name of its folder."""
    return Path(prediction["path"]).parent.name


def print_table(predictions: list[dict[str, Any]]) -> None:
    """Print the prediction of each image and the accuracy."""
    print(f"{'image':40} {'predicted':12} score")
    correct = 0
    for prediction in predictions:
        image = prediction["path"].removeprefix("data/test/")
        is_correct = prediction["label"] == get_class(prediction)
        correct += is_correct
        mark = "" if is_correct else "x"
        print(f"{image:40} {prediction['label']:12} {prediction['score']:.3f} {mark}")
    print(
        f"\naccuracy of boats.onnx on the demo's test images: {correct / len(predictions):.3f} "
        f"({correct} of {len(predictions)})"
    )


def draw_sheet(predictions: list[dict[str, Any]], path: Path) -> None:
    """Draw two images of each class with their predictions."""
    chosen = [
        prediction
        for _, group in groupby(predictions, key=get_class)
        for prediction in islice(group, 2)
    ]
    step_x, step_y = TILE_SIZE[0] + MARGIN, TILE_SIZE[1] + CAPTION_HEIGHT + MARGIN
    rows = -(-len(chosen) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * step_x + MARGIN, rows * step_y + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=18)
    for index, prediction in enumerate(chosen):
        row, column = divmod(index, COLUMNS)
        x, y = MARGIN + column * step_x, MARGIN + row * step_y
        with Image.open(FOLDER / prediction["path"]) as image:
            sheet.paste(image.resize(TILE_SIZE, Image.Resampling.LANCZOS), (x, y))
        text = f"{prediction['label']} {prediction['score']:.2f}"
        color = "#1d5c3a" if prediction["label"] == get_class(prediction) else "#b3261e"
        draw.text((x, y + TILE_SIZE[1] + 4), text, color, font)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main()
