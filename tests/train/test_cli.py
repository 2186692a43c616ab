import json
import shutil
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from boats_data.dataset import Dataset
from boats_runtime.errors import UsageError
from boats_train import report_comparison
from boats_train.pipeline import Workspace
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import load_run
from support.networks import make_network
from support.process import CommandResult, run_command

SMALL_NETWORK = (
    "--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--image-size", "64x160",
    "--tune", "off", "--cache", "none",
)  # fmt: skip

Results = dict[str, Future[CommandResult]]
Train = Callable[..., object]


@pytest.fixture(scope="module")
def results(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """Results of commands that run two at a time."""
    root = tmp_path_factory.mktemp("results")
    corrupt = Path(shutil.copytree(dataset_folder, root / "corrupt images"))
    truncate(corrupt / "train" / "topa" / "01.jpg", corrupt / "valid" / "gòndola" / "00.jpg")

    large = Path(shutil.copytree(dataset_folder, root / "large dataset"))
    image = large / "train" / "topa" / "00.jpg"
    for number in range(5000):
        image.with_name(f"link-{number}.jpg").hardlink_to(image)

    with socket.socket() as bound, ThreadPoolExecutor(2) as pool:
        bound.bind(("127.0.0.1", 0))  # a port that does not listen
        proxy = f"http://127.0.0.1:{bound.getsockname()[1]}"
        offline = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), proxy)
        offline |= {"no_proxy": "", "NO_PROXY": "", "TORCH_HOME": str(root / "torch")}
        commands: dict[str, tuple[Path, tuple[str, ...], dict[str, Any]]] = {
            "normal": (dataset_folder, SMALL_NETWORK, {}),
            "corrupt": (corrupt, SMALL_NETWORK, {}),
            "interrupted": (large, SMALL_NETWORK, {"interrupt_at": "features: "}),
            "disk full": (dataset_folder, SMALL_NETWORK, {"file_size_limit": 1_000_000}),
            "offline": (dataset_folder, ("--backbone", "squeezenet1_1"), {"env": offline}),
        }
        run = partial(pool.submit, run_command, "boats-train", "--data")
        yield {
            name: run(data, *arguments, cwd=root / name, **options)
            for name, (data, arguments, options) in commands.items()
        }
        pool.shutdown(cancel_futures=True)


def truncate(*images: Path) -> None:
    for image in images:
        image.write_bytes(image.read_bytes()[:300])


def read_metrics(run: Path) -> dict[str, Any]:
    """Return the recorded metrics without the run times."""
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    del metrics["seconds"]
    return metrics


def test_train__writes_a_run(results: Results) -> None:
    result = results["normal"].result()
    assert result.returncode == 0, result.stderr
    latest = result.folder / "runs" / "latest"
    name = str(latest.readlink())
    assert {path.name for path in (result.folder / "runs").iterdir()} == {"latest", name}
    assert name.endswith("-svm-shufflenet_v2_x0_5")
    run = load_run(latest)
    assert run.config.backbone == "shufflenet_v2_x0_5"
    assert (run.preprocessing.height, run.preprocessing.width) == (64, 160)
    assert run.classes == ("barca lunga", "gòndola", "topa")


def test_train__prints_metrics_to_stdout_and_progress_to_stderr(results: Results) -> None:
    result = results["normal"].result()
    latest = result.folder / "runs" / "latest"
    splits = read_metrics(latest)["splits"]
    lines = result.stdout.splitlines()
    assert lines[0].split("  ")[:2] == ["split", "accuracy (95%)"]
    for line, (name, images) in zip(
        lines[1:4], {"train": "13", "valid": "7", "test": "4"}.items(), strict=True
    ):
        assert (line.split()[0], line.split()[-1]) == (name, images)
        for metric in ("accuracy", "macro_f1"):
            low, high = splits[name][f"{metric}_interval"]
            assert f"  {splits[name][metric]:.3f} ({low:.3f} to {high:.3f})  " in line
    assert "test by class" in lines
    assert sum(line.startswith("gòndola ") for line in lines) == 1
    assert lines[-1] == f"run: runs/{latest.readlink()}"
    assert "boats-train: train: 13 images, valid: 7 images, test: 4 images\n" in result.stderr
    assert "boats-train: features: shufflenet_v2_x0_5 on " in result.stderr


def test_train__corrupt_images_are_skipped(results: Results) -> None:
    result = results["corrupt"].result()
    assert result.returncode == 1, result.stderr
    folder = result.folder.with_name("corrupt images")
    corrupt = [str(folder / name) for name in ("train/topa/01.jpg", "valid/gòndola/00.jpg")]
    lines = result.stderr.splitlines()
    skipped = [line.removeprefix("boats-train: skipped ") for line in lines if ": skipped " in line]
    assert [line.split(": ")[0] for line in skipped] == corrupt
    assert lines[-1] == "boats-train: 2 images could not be read and were skipped"
    latest = result.folder / "runs" / "latest"
    assert result.stdout.splitlines()[-1] == f"run: runs/{latest.readlink()}"
    metrics = read_metrics(latest)
    assert metrics["skipped"] == corrupt
    counts = {name: split["photos"] for name, split in metrics["splits"].items()}
    assert counts == {"train": 12, "valid": 6, "test": 4}


def test_train__interrupted(results: Results) -> None:
    result = results["interrupted"].result()
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not list(result.folder.glob("runs/*"))


def test_train__disk_is_full(results: Results) -> None:
    result = results["disk full"].result()
    assert result.returncode == 3, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last == "boats-train: runs: the run cannot be written: File too large"
    assert not (result.folder / "runs").exists()


def test_train__weights_cannot_be_downloaded(results: Results) -> None:
    result = results["offline"].result()
    assert result.returncode == 2, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("boats-train: the ImageNet weights could not be downloaded from https:")
    assert last.endswith("give --weights PATH with a state dict, or --weights none for random ones")
    assert result.stdout == ""
    assert not (result.folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--data", "missing"), 3, "missing: "),
        (("--model", "forest"), 2, "--model"),
        (("--unfreeze", "0", "--epochs", "3"), 2, "--epochs and --batch-size do not apply to"),
        (("--unfreeze", "some"), 2, "--unfreeze some: must be all, or a number of blocks"),
        (("--seed", "-1"), 2, "--seed -1: must be 0 to 4294967295"),
        (
            ("--image-size", "240x"),
            2,
            "--image-size 240x: expected auto, HEIGHTxWIDTH",
        ),
        (("--image-size", "16x800"), 2, "--image-size 16x800: each side must be "),
        (("--backbone", "resnet5"), 2, "--backbone resnet5: not a classification network"),
        (("--backbone", "vit_b_16", "--weights", "none"), 2, "does not accept images of 64x224"),
        (("--weights", "missing.pth"), 3, "--weights missing.pth: file does not exist"),
        (("--weights", "text.pth"), 3, "--weights text.pth: not a weights file"),
        (("--model", "cnn"), 2, "--model cnn has no backbone: omit --backbone and --weights"),
        (("--from", "missing"), 2, "--from sets the backbone, weights and image size: omit "),
        (("--compare", "--tune", "off"), 2, "--compare trains all models: omit --model, --tune"),
        (("--compare", "--unfreeze", "2"), 2, "--compare trains all models: omit --model, --tune"),
    ],
)
def test_train__invalid_argument(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    train: Train,
    dataset_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    assert train("--data", dataset_folder, "--backbone", "squeezenet1_1", *arguments) == code
    output, errors = capsys.readouterr()
    assert message in errors
    assert output == ""
    assert [path.name for path in tmp_path.iterdir()] == ["text.pth"]


def test_train__same_seed_gives_the_same_run(
    results: Results, train: Train, dataset_folder: Path, tmp_path: Path
) -> None:
    assert train("--data", dataset_folder, *SMALL_NETWORK) == 0
    first, second = results["normal"].result().folder / "runs/latest", tmp_path / "runs/latest"
    assert read_metrics(second) == read_metrics(first)
    for name in ("config.json", "backbone.safetensors"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_train__compare_uses_the_gpu(
    train: Train, dataset_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def record(_: TrainConfig, __: Dataset, workspace: Workspace) -> NoReturn:
        devices.append(workspace.distributed.device.type)
        raise UsageError("stop")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(report_comparison, "train_report_models", record)
    assert train("--data", dataset_folder, "--compare", "--cache", "none") == 2
    assert devices == ["cuda"]


def test_train__network_of_another_run_keeps_its_provenance(
    train: Train, dataset_folder: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pth"
    torch.manual_seed(0)
    torch.save(make_network("shufflenet_v2_x0_5").state_dict(), weights)
    options = ("--data", dataset_folder, "--tune", "off", "--cache", "none")
    network = ("--backbone", "shufflenet_v2_x0_5", "--weights", weights, "--image-size", "64x160")
    assert train(*options, *network) == 0
    source = load_run(tmp_path / "runs")
    weights.write_bytes(b"something else")
    assert train(*options, "--from", "runs") == 0
    run = load_run(tmp_path / "runs")
    assert (run.config.backbone, run.config.weights) == ("shufflenet_v2_x0_5", str(weights))
    assert run.metrics["inputs"]["weights"] == source.metrics["inputs"]["weights"]
    assert Path(run.config.from_run).is_absolute()
    assert Path(run.config.from_run).name != "latest"


def test_train__records_the_absolute_path_of_the_data(
    train: Train, dataset_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").symlink_to(dataset_folder)
    assert train("--data", "images", *SMALL_NETWORK) == 0
    assert load_run(tmp_path / "runs").config.data == str(tmp_path / "images")


def test_train__other_seed_gives_another_network(
    results: Results, train: Train, dataset_folder: Path, tmp_path: Path
) -> None:
    assert train("--data", dataset_folder, "--seed", "1", *SMALL_NETWORK) == 0
    name = "runs/latest/backbone.safetensors"
    first = results["normal"].result().folder / name
    assert (tmp_path / name).read_bytes() != first.read_bytes()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("train/topa/*", "train/topa: none of the images can be read"),
        ("train/*/*", "train: none of the 13 images can be read"),
        ("valid/*/*", "valid: none of the 7 images can be read"),
        ("test/*/*", "test: none of the 4 images can be read"),
    ],
)
def test_train__no_readable_images(
    pattern: str,
    message: str,
    train: Train,
    dataset_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = Path(shutil.copytree(dataset_folder, tmp_path / "images"))
    truncate(*data.glob(pattern))
    assert train("--data", data, *SMALL_NETWORK) == 3
    assert capsys.readouterr().err.splitlines()[-1] == f"boats-train: {data}/{message}"
    assert not (tmp_path / "runs").exists()


def test_train__out_is_a_file(
    train: Train, dataset_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("text")
    assert train("--data", dataset_folder, *SMALL_NETWORK) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "boats-train: runs: the run cannot be written: Not a directory"
    assert not any("features: " in line for line in lines)
    assert (tmp_path / "runs").read_text() == "text"
