"""The `boats-train` command."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from typer import Option

from boats_runtime.cli.app import (
    create_app,
    create_log,
    print_lines,
    require_extra,
    run_app,
    set_passive_openmp,
)
from boats_runtime.cli.command import Command
from boats_runtime.errors import ImageError, UsageError
from boats_train.models.sources import (
    default_weights,
    demo_backbone,
    find_source,
    require_named,
)
from boats_train.runs.config import AUTO, TrainConfig, parse_image_size

if TYPE_CHECKING:
    from boats_data.dataset import Dataset
    from boats_train.pipeline import TrainingResult, Workspace

COMMAND = "boats-train"
MODULES = ("matplotlib", "safetensors", "scipy", "sklearn", "skops", "torch", "torchvision")


SCHEDULES = {
    "svm": (0.0, 0, 0),
    "finetune": (1e-2, 100, 128),
    "unfreeze": (3e-4, 30, 32),
    "cnn": (1e-3, 10, 128),
}
"""Defaults of `--lr`, `--epochs` and `--batch-size` by model, and with `--unfreeze`."""

EXAMPLES = """
boats-train --demo
boats-train --data data --backbone mobilenet_v2
boats-train --model finetune --unfreeze 2 --resume
"""

app = create_app(COMMAND)
log = create_log(COMMAND)


@app.command(cls=Command, epilog=EXAMPLES)
def train(
    data: Annotated[
        Path, Option(help="Folder with train/<class>/*.jpg, valid/... and optionally test/...")
    ] = Path("data"),
    demo: Annotated[
        bool, Option("--demo", help="Generate a small synthetic dataset in --data.")
    ] = False,
    model: Annotated[
        Literal["svm", "finetune", "cnn"],
        Option(help="SVM or linear head on the features of the backbone, or a small CNN."),
    ] = "svm",
    backbone: Annotated[
        str,
        Option(
            help="Network of torchvision, timm:NAME, or your own package.module:factory.",
            show_default="resnet50",
        ),
    ] = "",
    weights: Annotated[
        str,
        Option(
            help="imagenet, none (random), factory (as your own code makes them), or the PATH of "
            "a state dict.",
            show_default="imagenet; your own code: factory",
        ),
    ] = "",
    from_run: Annotated[Path | None, Option("--from", help="Use the network of this run.")] = None,
    image_size: Annotated[
        str,
        Option(
            help="Network input: auto (from the sizes of the images), HEIGHTxWIDTH, or 224 for "
            "224x224.",
            show_default="auto; cnn: 30x100",
        ),
    ] = "",
    tune: Annotated[
        Literal["auto", "off"],
        Option(help="svm: search for hyperparameters, or use those of the report."),
    ] = "auto",
    groups: Annotated[
        str,
        Option(
            help="svm: regular expression for file names; images of a group share a fold.",
            show_default="a leading date",
        ),
    ] = "",
    lr: Annotated[
        float | None,
        Option(
            help="finetune, cnn: learning rate.", show_default="1e-2; unfreeze: 3e-4; cnn: 1e-3"
        ),
    ] = None,
    epochs: Annotated[
        int | None, Option(help="finetune, cnn: number of epochs.", show_default="100; cnn: 10")
    ] = None,
    batch_size: Annotated[
        int | None, Option(help="finetune, cnn: images per step.", show_default="128")
    ] = None,
    compare: Annotated[
        bool, Option("--compare", help="Train all models of the report and compare them.")
    ] = False,
    unfreeze: Annotated[
        str, Option(help="finetune: number of last blocks of the backbone to train, or all.")
    ] = "0",
    seed: Annotated[int, Option(help="Random seed.")] = 0,
    resume: Annotated[bool, Option("--resume", help="Resume an interrupted training.")] = False,
    cache: Annotated[
        str, Option(help="Folder of the feature cache, or none.", show_default="~/.cache")
    ] = "",
    out: Annotated[Path, Option(help="Folder of runs.")] = Path("runs"),
) -> None:
    """Train an image classifier."""
    require_extra(COMMAND, "train", MODULES)
    if from_run:
        from boats_train.runs.run import find_run, read_config

        if weights or image_size or (backbone and find_source(backbone) != "custom"):
            omitted = "omit --backbone, --weights and --image-size"
            raise UsageError(f"--from sets the backbone, weights and image size: {omitted}")
        source = read_config(from_run)
        require_named(source.backbone, backbone)
        from_run = find_run(from_run).resolve()  # `latest` will be another run
        backbone, weights = source.backbone, source.weights
        image_size = f"{source.height}x{source.width}"
    if model == "cnn" and (backbone or weights):
        raise UsageError("--model cnn has no backbone: omit --backbone and --weights")
    if compare and (model != "svm" or tune == "off"):
        raise UsageError("--compare trains all models: omit --model and --tune")
    if demo and not (from_run or backbone or weights) and model != "cnn":
        backbone = demo_backbone()
    schedule = SCHEDULES["unfreeze" if model == "finetune" and unfreeze != "0" else model]
    image_size = image_size or ("30x100" if model == "cnn" else AUTO)
    # With `auto`, the size follows from the images; the other options are checked before.
    height, width = (224, 224) if image_size == AUTO else parse_image_size(image_size)
    config = TrainConfig(
        data=str(data.absolute()),
        model=model,
        backbone="small_cnn" if model == "cnn" else backbone or "resnet50",
        weights="none" if model == "cnn" else weights or default_weights(backbone),
        height=height,
        width=width,
        image_size=image_size,
        seed=seed,
        tune=tune == "auto",
        groups=groups,
        learning_rate=schedule[0] if lr is None else lr,
        epochs=schedule[1] if epochs is None else epochs,
        batch_size=schedule[2] if batch_size is None else batch_size,
        unfreeze=unfreeze,
        from_run=str(from_run or ""),
    )
    dataset = load_dataset(data, demo, seed)
    config = resolve_image_size(config, dataset)
    if compare:
        run_comparison(config, dataset, cache, out)
        return
    result = run_training(config, dataset, demo, cache, out, resume)
    if result and result.skipped:
        raise ImageError(f"{len(result.skipped)} images could not be read and were skipped")


def load_dataset(data: Path, demo: bool, seed: int) -> "Dataset":
    """Scan the dataset; with `--demo`, generate it first."""
    from boats_data.dataset import scan_dataset

    if demo:
        from boats_data.synthetic import write_demo_data

        write_demo_data(data, seed)
        log(f"generated the demo dataset in {data}")
    dataset = scan_dataset(data)
    log(", ".join(f"{name}: {len(split.paths)} images" for name, split in dataset.splits.items()))
    return dataset


def resolve_image_size(config: TrainConfig, dataset: "Dataset") -> TrainConfig:
    """Choose the size of the network input for `auto`, and warn if shapes predict the classes."""
    from boats_data.image_sizes import choose_size, describe_choice, sample_sizes
    from boats_data.shape_leakage import find_shape_leaks

    train = dataset.splits["train"]
    sampled = sample_sizes(train.paths, dataset.root / "train")
    for leak in find_shape_leaks(sampled.sizes, train.targets[sampled.indices]):
        log(f"warning: {leak.message} {leak.advice}")
    if config.image_size != AUTO:
        return config
    size = choose_size(sampled.median)
    log(describe_choice(size, sampled))
    return replace(config, height=size[0], width=size[1])


def run_training(
    config: TrainConfig, dataset: "Dataset", demo: bool, cache: str, out: Path, resume: bool
) -> "TrainingResult | None":
    """Train, print the metrics and write the run.

    Return None in processes of `torchrun` other than rank 0.
    """
    from boats_train.finetune.distributed import join_distributed
    from boats_train.models.weights import DownloadError
    from boats_train.pipeline import TrainingPipeline
    from boats_train.plots import write_plots
    from boats_train.result_tables import format_result
    from boats_train.runs.checkpoints import remove_crashed, reserve_checkpoints
    from boats_train.runs.run import check_output, write_run

    check_output(out)
    if resume and config.model == "svm":
        log("--resume: an SVM has no epochs to resume; features are read from the cache")
    with join_distributed() as distributed, ExitStack() as reserved:
        if distributed.world_size > 1 and (demo or config.unfreeze == "0"):
            raise UsageError(
                "torchrun requires --model finetune and --unfreeze, and does not support --demo"
            )
        workspace = replace(
            make_workspace(config, dataset, cache, out, resume=resume), distributed=distributed
        )
        if distributed.is_main:
            remove_crashed(out)
            if config.model != "svm":
                reserved.enter_context(reserve_checkpoints(workspace.folder))
        else:
            TrainingPipeline(config, dataset, workspace).join()
            distributed.barrier()  # NCCL requires that the processes leave together
            return None
        try:
            result = TrainingPipeline(config, dataset, workspace).run()
        except DownloadError as error:
            if not demo:
                raise
            log(str(error))
            log("NO IMAGENET WEIGHTS: the demo uses random weights and will be less accurate")
            config = replace(config, weights="none")
            result = TrainingPipeline(config, dataset, workspace).run()
        distributed.barrier()
        typer.echo(f"{format_result(result)}\n")
        name = f"{format_time()}-{config.model}-{config.backbone.replace(':', '-')}"
        folder = write_run(result.run, out, name, lambda folder: write_plots(result, folder))
    print_lines(f"run: {folder}")
    return result


def run_comparison(config: TrainConfig, dataset: "Dataset", cache: str, out: Path) -> None:
    """Train all models of the report, and print and write the comparison."""
    from boats_train import report_comparison
    from boats_train.finetune.distributed import join_distributed
    from boats_train.runs.checkpoints import remove_crashed, reserve_checkpoints
    from boats_train.runs.run import check_output

    check_output(out)
    remove_crashed(out)
    folder = out / f"{format_time()}-compare-{config.backbone.replace(':', '-')}"
    with join_distributed() as distributed:
        if distributed.world_size > 1:
            raise UsageError("torchrun does not support --compare")
        workspace = make_workspace(config, dataset, cache, out, resume=False)
        workspace = replace(workspace, distributed=distributed)
        with reserve_checkpoints(workspace.folder):
            outcomes = report_comparison.train_report_models(config, dataset, workspace)
    report_comparison.write_comparison(outcomes, folder)
    typer.echo(report_comparison.format_comparison(outcomes))
    print_lines(f"comparison: {folder}")


def make_workspace(
    config: TrainConfig, dataset: "Dataset", cache: str, out: Path, *, resume: bool
) -> "Workspace":
    """Return the workspace with the folders of the cache and of the checkpoints."""
    from boats_train.features.cache import default_folder
    from boats_train.pipeline import Workspace, training_digest
    from boats_train.runs.checkpoints import PREFIX

    cache_folder = None if cache == "none" else Path(cache) if cache else default_folder()
    folder = out / f"{PREFIX}{training_digest(config, dataset)}"
    return Workspace(cache_folder, folder, resume, log)


def format_time() -> str:
    """Return the current time for the name of a run."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}"


def main() -> NoReturn:
    """Run `boats-train`."""
    set_passive_openmp()
    run_app(app, COMMAND)
