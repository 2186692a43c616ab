"""The `boats-train` command."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from typer import Option

from boats_runtime.cli.app import (
    create_app,
    create_log,
    require_extra,
    run_app,
    set_passive_openmp,
)
from boats_runtime.cli.command import Command
from boats_runtime.errors import ImageError, UsageError
from boats_runtime.providers.wheels import import_onnxruntime
from boats_train.models.sources import (
    BUNDLED,
    default_weights,
    demo_backbone,
    find_source,
    require_named,
)
from boats_train.runs.config import AUTO, TrainConfig, parse_image_size
from boats_train.search.options import PRECISIONS, SearchOptions, check_options

if TYPE_CHECKING:
    from boats_data.dataset import Dataset

COMMAND = "boats-train"
MODULES = ("matplotlib", "safetensors", "scipy", "sklearn", "skops", "torch", "torchvision")


EXPORT_MODULES = ("onnx", "onnxscript", "skl2onnx")
"""Modules that a search needs besides: it runs `boats-export`."""

NetworkOption = partial(Option, rich_help_panel="Network")
TrainingOption = partial(Option, rich_help_panel="Classifier and its training")
SearchOption = partial(Option, rich_help_panel="Search for the network")

SCHEDULES = {
    "svm": (0.0, 0, 0),
    "finetune": (1e-2, 100, 128),
    "unfreeze": (3e-4, 30, 32),
    "cnn": (1e-3, 10, 128),
}
"""Defaults of `--lr`, `--epochs` and `--batch-size` by model, and with `--unfreeze`; 0 stands for
those of `boats_train.finetune.planning`."""

EXAMPLES = """
boats-train --demo
boats-train --data data --backbone mobilenet_v2
boats-train --model finetune --unfreeze 2 --resume
boats-train --search --budget-ms 20
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
        TrainingOption(help="SVM or linear head on the features of the backbone, or a small CNN."),
    ] = "svm",
    backbone: Annotated[
        str,
        NetworkOption(
            help="Network of torchvision, timm:NAME, or your own package.module:factory.",
            show_default="resnet50",
        ),
    ] = "",
    weights: Annotated[
        str,
        NetworkOption(
            help="imagenet, none (random), factory (as your own code makes them), or the PATH of "
            "a state dict.",
            show_default="imagenet; your own code: factory",
        ),
    ] = "",
    from_run: Annotated[
        Path | None, NetworkOption("--from", help="Use the network of this run.")
    ] = None,
    image_size: Annotated[
        str,
        NetworkOption(
            help="Network input: auto (from the sizes of the images), HEIGHTxWIDTH, or 224 for "
            "224x224.",
            show_default="auto; cnn: 30x100",
        ),
    ] = "",
    tune: Annotated[
        Literal["auto", "off"],
        TrainingOption(help="svm: search for hyperparameters, or use those of the report."),
    ] = "auto",
    groups: Annotated[
        str,
        TrainingOption(
            help="svm: regular expression for file names; images of a group share a fold.",
            show_default="a leading date",
        ),
    ] = "",
    lr: Annotated[
        float | None,
        TrainingOption(
            help="Learning rate of the trained layers.",
            show_default="svm: 5e-4; finetune: 1e-2; unfreeze: 3e-4; cnn: 1e-3",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        TrainingOption(
            help="Number of epochs.", show_default="svm: 12; finetune: 100; unfreeze: 30; cnn: 10"
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        TrainingOption(help="Images per step.", show_default="128; unfreeze, svm: 32"),
    ] = None,
    compare: Annotated[
        bool, TrainingOption("--compare", help="Train all models of the report and compare them.")
    ] = False,
    search: Annotated[
        bool,
        SearchOption(
            "--search",
            help="Compare backbones, sizes and precisions on this device; train the best.",
        ),
    ] = False,
    budget_ms: Annotated[
        float | None,
        SearchOption(help="Largest latency of an image in milliseconds."),
    ] = None,
    budget_mb: Annotated[
        float | None,
        SearchOption(help="Largest exported file in 10^6 bytes."),
    ] = None,
    backbones: Annotated[
        str,
        SearchOption(
            help="Backbones, NAME or NAME=WEIGHTS, between commas.",
            show_default=f"mobilenet_v2,{BUNDLED}",
        ),
    ] = "",
    sizes: Annotated[
        str,
        SearchOption(
            help="Image sizes between commas, or auto: 0.25 to 1 times the area of the images."
        ),
    ] = AUTO,
    precisions: Annotated[str, SearchOption(help="fp32, int8 or both.")] = ",".join(PRECISIONS),
    dry_run: Annotated[
        bool,
        SearchOption("--dry-run", help="Report, and train nothing."),
    ] = False,
    unfreeze: Annotated[
        str,
        TrainingOption(
            help="Number of last blocks of the backbone to train, or all; svm: auto trains them "
            "if held-out groups gain.",
            show_default="svm: auto; finetune, --demo: 0",
        ),
    ] = "",
    seed: Annotated[int, Option(help="Random seed.")] = 0,
    resume: Annotated[bool, Option("--resume", help="Resume an interrupted training.")] = False,
    cache: Annotated[
        str, Option(help="Folder of the feature cache, or none.", show_default="~/.cache")
    ] = "",
    out: Annotated[Path, Option(help="Folder of runs.")] = Path("runs"),
) -> None:
    """Train an image classifier."""
    require_extra(COMMAND, "train", MODULES)
    options = SearchOptions(backbones, sizes, precisions, budget_ms, budget_mb, dry_run)
    others = {
        "--model": model != "svm", "--tune": tune == "off", "--from": from_run,
        "--compare": compare, "--backbone": backbone, "--weights": weights,
        "--image-size": image_size,
    }  # fmt: skip
    check_options(options, [name for name, given in others.items() if given], search=search)
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
    if compare and (model != "svm" or tune == "off" or unfreeze not in ("", "0")):
        raise UsageError("--compare trains all models: omit --model, --tune and --unfreeze")
    # The demo has too few images to fine-tune on.
    unfreeze = unfreeze or (AUTO if model == "svm" and not (compare or demo) else "0")
    if search:
        require_extra(COMMAND, "export", EXPORT_MODULES)
        import_onnxruntime()
    if demo and not (search or from_run or backbone or weights) and model != "cnn":
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
    if not search:
        config = resolve_image_size(config, dataset)
    from boats_train.commands import TrainingSession

    session = TrainingSession(dataset, cache, out, log)
    if compare:
        session.compare(config)
        return
    if search:
        config = session.search(config, options)
        if dry_run:
            return
    result = session.train(config, demo=demo, resume=resume)
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


def main() -> NoReturn:
    """Run `boats-train`."""
    set_passive_openmp()
    run_app(app, COMMAND)
