"""`boats-train`: a folder of photos in, a run folder out."""

import shutil
import sys  # noqa: F401
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NoReturn

import typer

from boats_runtime.cli.app import create_app, create_log, require_extra, run_app, wait_passively
from boats_runtime.errors import ImageError, UsageError
from boats_train.runs.config import TrainConfig, parse_image_size

if TYPE_CHECKING:
    from boats_data.dataset import Dataset
    from boats_train.pipeline import TrainingResult, Workspace

COMMAND = "boats-train"
MODULES = (
    "matplotlib", "rich", "safetensors", "scipy", "sklearn", "skops", "torch", "torchvision",
)  # fmt: skip


class Schedule(NamedTuple):
    """Defaults of `--lr`, `--epochs` and `--batch-size`."""

    learning_rate: float
    epochs: int
    batch_size: int


NO_EPOCHS = Schedule(0.0, 0, 0)
HEAD = Schedule(1e-4, 100, 128)
WHOLE = Schedule(3e-4, 30, 32)
"""With `--unfreeze`."""

CNN = Schedule(1e-3, 10, 128)
"""As the report has them, with Adam's own learning rate."""

app = create_app(COMMAND)
log = create_log(COMMAND)


@app.command()
def train(
    data: Annotated[
        Path, typer.Option(help="Folder with train/<class>/*.jpg, valid/ and perhaps test/.")
    ] = Path("data"),
    demo: Annotated[
        bool, typer.Option("--demo", help="Draw a small picture set into --data and use it.")
    ] = False,
    model: Annotated[
        Literal["svm", "finetune", "cnn"],
        typer.Option(help="An SVM or a linear head on the backbone's features, or the small CNN."),
    ] = "svm",
    backbone: Annotated[
        str | None,
        typer.Option(help="Any classification network of torchvision.", show_default="resnet50"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="imagenet, none (random), or the PATH of a state dict.", show_default="imagenet"
        ),
    ] = None,
    from_run: Annotated[
        Path | None, typer.Option("--from", help="Take the network of this run instead.")
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Height and width of the network's input.", show_default="240x800; cnn: 30x100"
        ),
    ] = None,
    tune: Annotated[
        Literal["auto", "off"],
        typer.Option(help="svm: search for the best setting, or take the report's."),
    ] = "auto",
    groups: Annotated[
        str,
        typer.Option(
            help="svm: regular expression on file names; photos of a group are held out together.",
            show_default="a leading date",
        ),
    ] = "",
    lr: Annotated[
        float | None,
        typer.Option(help="finetune, cnn: learning rate.", show_default="1e-4; cnn: 1e-3"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="finetune, cnn.", show_default="100; cnn: 10")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="finetune, cnn: photos a step.", show_default="128")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Train every model of the report, and compare.")
    ] = False,
    unfreeze: Annotated[
        str,
        typer.Option(help="finetune: how many of the backbone's last blocks learn, or all."),
    ] = "0",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same training was interrupted.")
    ] = False,
    cache: Annotated[
        str,
        typer.Option(help="Folder of features already computed, or none.", show_default="~/.cache"),
    ] = "",
    out: Annotated[Path, typer.Option(help="Folder that collects the runs.")] = Path("runs"),
) -> None:
    """Train a classifier on a folder of photos."""
    require_extra(COMMAND, "train", MODULES)
    if from_run:
        from boats_train.runs.run import read_config

        if backbone or weights or image_size:
            raise UsageError("--from brings its backbone, weights and image size: leave those out")
        earlier = read_config(from_run)
        backbone, weights = earlier.backbone, "none"
        image_size = f"{earlier.height}x{earlier.width}"
    if model == "cnn" and (backbone or weights):
        raise UsageError("--model cnn has no backbone: leave --backbone and --weights out")
    defaults = {"svm": NO_EPOCHS, "finetune": HEAD, "cnn": CNN}[model]
    if model == "finetune" and unfreeze != "0":
        defaults = WHOLE
    height, width = parse_image_size(image_size or ("30x100" if model == "cnn" else "240x800"))
    config = TrainConfig(
        data=str(data),
        model=model,
        backbone="small_cnn" if model == "cnn" else backbone or "resnet50",
        weights="none" if model == "cnn" else weights or "imagenet",
        height=height,
        width=width,
        seed=seed,
        tune=tune == "auto",
        groups=groups,
        learning_rate=defaults.learning_rate if lr is None else lr,
        epochs=defaults.epochs if epochs is None else epochs,
        batch_size=defaults.batch_size if batch_size is None else batch_size,
        unfreeze=unfreeze,
        from_run=str(from_run or ""),
    )
    dataset = find_data(data, demo, seed)
    if compare:
        if model != "svm" or tune == "off":
            raise UsageError("--compare trains every model: leave --model and --tune out")
        run_comparison(config, dataset, cache, out)
        return
    result = run_training(config, dataset, demo, cache, out, resume)
    if result and result.skipped:
        raise ImageError(f"{len(result.skipped)} photos could not be read and were skipped")


def find_data(data: Path, demo: bool, seed: int) -> "Dataset":
    """Finds the picture set, which the demo draws first.

    Raises:
        DataError: It can't be used.
        UsageError: The demo would have to draw into a folder that holds something else.
    """
    from boats_data.dataset import scan_dataset

    if demo:
        from boats_data.synthetic import write_demo_data

        write_demo_data(data, seed)
        log(f"the drawn demo set is in {data}")
    dataset = scan_dataset(data)
    log(", ".join(f"{name}: {len(split.paths)} photos" for name, split in dataset.splits.items()))
    return dataset


def run_training(
    config: TrainConfig, dataset: "Dataset", demo: bool, cache: str, out: Path, resume: bool
) -> "TrainingResult | None":
    """Trains, prints how good it is and writes the run.

    Returns:
        What was trained; None in a process that only helped another to train it.

    Raises:
        BoatsError: As `train_model` and `write_run` say.
    """
    from boats_train.finetune.distributed import join_distributed
    from boats_train.models.backbone import DownloadError
    from boats_train.pipeline import take_part, train_model
    from boats_train.plots import illustrate
    from boats_train.runs.run import check_place, write_run

    check_place(out)
    with join_distributed() as distributed:
        if distributed.world_size > 1 and (demo or config.unfreeze == "0"):
            raise UsageError("torchrun is for --model finetune --unfreeze, on photos of your own")
        workspace = replace(
            make_workspace(config, dataset, cache, out, resume=resume), distributed=distributed
        )
        if not distributed.is_main:
            take_part(config, dataset, workspace)
            distributed.barrier()  # NCCL's processes part together
            return None
        try:
            result = train_model(config, dataset, workspace)
        except DownloadError as error:
            if not demo:
                raise
            log(str(error))
            log("NO IMAGENET WEIGHTS: the demo goes on with random ones and will be less accurate")
            result = train_model(replace(config, weights="none"), dataset, workspace)
        distributed.barrier()
    for line in to_tables(result):
        typer.echo(line)
    name = f"{now()}-{config.model}-{config.backbone}"
    written = write_run(result.run, out, name, lambda scratch: illustrate(result, scratch))
    shutil.rmtree(workspace.folder, ignore_errors=True)
    typer.echo(f"run: {written}")
    return result


def run_comparison(config: TrainConfig, dataset: "Dataset", cache: str, out: Path) -> None:
    """Trains every model of the report, prints its tables and writes them with the plots.

    Raises:
        BoatsError: As `train_model` and `write_comparison` say.
    """
    from boats_train.report_comparison import compare, to_markdown, write_comparison
    from boats_train.runs.run import check_place

    check_place(out)
    folder = out / f"{now()}-compare-{config.backbone}"
    workspace = make_workspace(config, dataset, cache, out, resume=False)
    outcomes = compare(config, dataset, workspace)
    shutil.rmtree(workspace.folder, ignore_errors=True)
    write_comparison(outcomes, folder)
    typer.echo(to_markdown(outcomes))
    typer.echo(f"comparison: {folder}")


def make_workspace(
    config: TrainConfig, dataset: "Dataset", cache: str, out: Path, *, resume: bool
) -> "Workspace":
    """Finds where features are kept, and where this training keeps its checkpoints."""
    from boats_train.features.cache import default_folder
    from boats_train.pipeline import Workspace, training_digest

    kept = None if cache == "none" else Path(cache) if cache else default_folder()
    folder = out / f".training-{training_digest(config, dataset)}"
    return Workspace(kept, folder, resume, log)


def now() -> str:
    """Returns the time as it stands in the names of runs."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}"


def to_tables(result: "TrainingResult") -> list[str]:
    """Returns the lines that tell how good the run is: each split, then the last one by class."""
    from boats_metrics.classification import format_class_table

    lines = [f"split  {'accuracy (95 %)':22}  {'macro-F1 (95 %)':22}  photos"]
    lines.extend(
        f"{name:5}  {bounded(split.accuracy, split.intervals.accuracy)}  "
        f"{bounded(split.macro_f1, split.intervals.macro_f1)}  {split.images:6d}"
        for name, split in result.metrics.items()
    )
    lines.extend(to_validation(result.run.metrics))
    last = list(result.metrics)[-1]
    return [*lines, "", f"{last} by class", *format_class_table(result.metrics[last]), ""]


def to_validation(metrics: Mapping[str, Any]) -> list[str]:
    """Returns the lines about cross-validation and the threshold, where there were such."""
    lines = []
    if "cross_validation" in metrics:
        held_out = metrics["cross_validation_with_valid"]
        accuracy = bounded(held_out["accuracy"], held_out["accuracy_interval"])
        macro_f1 = bounded(held_out["macro_f1"], held_out["macro_f1_interval"])
        chosen = metrics["cross_validation"]["chosen"]
        lines.append("")
        lines.append(
            f"{held_out['kind']} over {', '.join(held_out['folds'])}: "
            f"mean accuracy {held_out['mean_accuracy']:.3f}"
        )
        lines.append(f"  all held-out photos: accuracy {accuracy}, macro-F1 {macro_f1}")
        lines.append(
            f"  setting: features {chosen['scaling']}, C {chosen['cost']:g}, "
            f"gamma {chosen['gamma_factor']:g} x scale, class weights {chosen['class_weight']}"
        )
        point = metrics["operating_point"]
        lines.append(
            f"  unknown under {point['threshold']:.2f}: {point['coverage']:.1%} of held-out photos "
            f"are answered, {point['accuracy']:.1%} of those rightly"
        )
    return lines


def bounded(value: float, interval: tuple[float, float]) -> str:
    """Returns a value with its interval."""
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def main() -> NoReturn:
    """Runs `boats-train`."""
    wait_passively()
    run_app(app, COMMAND)
