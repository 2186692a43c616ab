"""`boats-train`: a folder of photos in, a run folder out."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from boats_runtime import command
from boats_runtime.errors import ImageError

from boats_train.config import TrainConfig, parse_image_size

if TYPE_CHECKING:
    from boats_train.dataset import Dataset
    from boats_train.training import TrainingResult

COMMAND = "boats-train"
MODULES = ("torch", "torchvision", "sklearn", "skops", "safetensors", "rich")

app = command.new_app(COMMAND)


@app.command()
def train(
    data: Annotated[
        Path, typer.Option(help="Folder with train/<class>/*.jpg, valid/ and perhaps test/.")
    ] = Path("data"),
    demo: Annotated[
        bool, typer.Option("--demo", help="Draw a small picture set into --data and use it.")
    ] = False,
    model: Annotated[Literal["svm"], typer.Option(help="What is fitted.")] = "svm",
    backbone: Annotated[
        str, typer.Option(help="Any classification network of torchvision.")
    ] = "resnet50",
    weights: Annotated[
        str, typer.Option(help="imagenet, none (random), or the PATH of a state dict.")
    ] = "imagenet",
    image_size: Annotated[
        str, typer.Option(help="Height and width of the network's input.")
    ] = "240x800",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder that collects the runs.")] = Path("runs"),
) -> None:
    """Train a classifier on a folder of photos."""
    height, width = parse_image_size(image_size)
    config = TrainConfig(str(data), model, backbone, weights, height, width, seed)
    command.require_extra(COMMAND, "train", MODULES)
    from boats_train.dataset import scan_dataset
    from boats_train.run import write_run

    if demo:
        from boats_train.demo import make_demo_data

        make_demo_data(data, seed)
        log(f"the drawn demo set is in {data}")
    dataset = scan_dataset(data)
    log(", ".join(f"{name}: {len(split.paths)} photos" for name, split in dataset.splits.items()))
    result = train_or_fall_back(config, dataset, demo)
    for line in to_tables(result):
        typer.echo(line)
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{model}-{backbone}"
    typer.echo(f"run: {write_run(result.run, out, name)}")
    if result.skipped:
        raise ImageError(f"{len(result.skipped)} photos could not be read and were skipped")


def train_or_fall_back(config: TrainConfig, dataset: "Dataset", demo: bool) -> "TrainingResult":
    """Trains; the demo does without ImageNet weights where they can't be had, and says so.

    Raises:
        DownloadError: The weights can't be downloaded, and this is no demo.
    """
    from boats_train.backbone import DownloadError
    from boats_train.training import train_model

    try:
        return train_model(config, dataset, log)
    except DownloadError as error:
        if not demo:
            raise
        log(str(error))
        log("NO IMAGENET WEIGHTS: the demo goes on with random ones and will be less accurate")
        return train_model(replace(config, weights="none"), dataset, log)


def to_tables(result: "TrainingResult") -> list[str]:
    """Returns the lines that tell how good the run is: each split, then the last one by class."""
    from boats_train.metrics import class_table

    lines = ["split  accuracy  macro-F1  photos"]
    lines.extend(
        f"{name:5}  {split.accuracy:8.3f}  {split.macro_f1:8.3f}  {split.photos:6d}"
        for name, split in result.metrics.items()
    )
    last = list(result.metrics)[-1]
    return [*lines, "", f"{last} by class", *class_table(result.metrics[last]), ""]


def log(line: str) -> None:
    """Prints a line about what goes on to stderr."""
    print(f"{COMMAND}: {line}", file=sys.stderr)  # noqa: T201


def main() -> NoReturn:
    """Runs `boats-train`."""
    command.run(app, COMMAND)
