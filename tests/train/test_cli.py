import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from boats_train.cli import main
from boats_train.runs.run import load_run
from support.process import run_command

TINY = (
    "--backbone", "shufflenet_v2_x0_5", "--weights", "none", "--image-size", "64x160",
    "--tune", "off", "--cache", "none",
)  # fmt: skip

Outcomes = dict[str, "Future[Any]"]


@pytest.fixture(scope="module")
def outcomes(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Trainings in processes of their own, two at a time: most of their time goes to imports."""
    root = tmp_path_factory.mktemp("outcomes")
    train = partial(run_command, "boats-train")

    corrupt = Path(shutil.copytree(dataset_folder, root / "corrupt photos"))
    spoil(corrupt / "train" / "topa" / "01.jpg", corrupt / "valid" / "gòndola" / "00.jpg")

    endless = Path(shutil.copytree(dataset_folder, root / "endless photos"))
    photo = endless / "train" / "topa" / "00.jpg"
    for number in range(5000):  # more than can be done in the time that the signal takes
        photo.with_name(f"link-{number}.jpg").hardlink_to(photo)

    with socket.socket() as closed, ThreadPoolExecutor(2) as pool:
        closed.bind(("127.0.0.1", 0))  # nobody else takes the port, and nobody listens
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        offline = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), proxy)
        offline |= {"no_proxy": "", "NO_PROXY": "", "TORCH_HOME": str(root / "torch")}
        yield {
            "well": pool.submit(train, "--data", dataset_folder, *TINY, cwd=root / "well"),
            "corrupt": pool.submit(train, "--data", corrupt, *TINY, cwd=root / "corrupt"),
            "interrupted": pool.submit(
                train, "--data", endless, *TINY, cwd=root / "interrupted", interrupt_at="features: "
            ),
            "disk full": pool.submit(
                train, "--data", dataset_folder, *TINY, cwd=root / "full", file_size_limit=1_000_000
            ),
            "offline": pool.submit(
                train, "--data", dataset_folder, "--backbone", "squeezenet1_1", cwd=root / "offline",
                env=offline,
            ),
        }  # fmt: skip
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def copy(dataset_folder: Path, tmp_path: Path) -> Path:
    """A picture set to spoil."""
    return Path(shutil.copytree(dataset_folder, tmp_path / "photos"))


def read_metrics(run: Path) -> dict[str, Any]:
    """Reads what was measured, but for the time that it took."""
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    metrics.pop("seconds", None)
    return metrics


def spoil(*photos: Path) -> None:
    for photo in photos:
        photo.write_bytes(photo.read_bytes()[:300])


def test_train__makes_a_run(outcomes: Outcomes) -> None:
    outcome = outcomes["well"].result()
    assert outcome.returncode == 0, outcome.stderr
    latest = outcome.folder / "runs" / "latest"
    run = latest.readlink()
    assert {path.name for path in (outcome.folder / "runs").iterdir()} == {"latest", str(run)}
    assert str(run).endswith("-svm-shufflenet_v2_x0_5")
    loaded = load_run(latest)
    assert loaded.config.backbone == "shufflenet_v2_x0_5"
    assert (loaded.preprocessing.height, loaded.preprocessing.width) == (64, 160)
    assert loaded.classes == ("barca lunga", "gòndola", "topa")


def test_train__prints_results_to_stdout_and_progress_to_stderr(outcomes: Outcomes) -> None:
    outcome = outcomes["well"].result()
    latest = outcome.folder / "runs" / "latest"
    splits = json.loads((latest / "metrics.json").read_text())["splits"]
    lines = outcome.stdout.splitlines()
    assert lines[0].split("  ")[:2] == ["split", "accuracy (95 %)"]
    for line, (name, photos) in zip(
        lines[1:4], {"train": "13", "valid": "7", "test": "4"}.items(), strict=True
    ):
        split = splits[name]
        low, high = split["accuracy_interval"]
        assert f"  {split['accuracy']:.3f} ({low:.3f} to {high:.3f})  " in line
        low, high = split["macro_f1_interval"]
        assert f"  {split['macro_f1']:.3f} ({low:.3f} to {high:.3f})" in line
        assert (line.split()[0], line.split()[-1]) == (name, photos)
    assert "test by class" in lines
    assert sum(line.startswith("gòndola ") for line in lines) == 1
    assert lines[-1] == f"run: runs/{latest.readlink()}"
    assert "boats-train: train: 13 photos, valid: 7 photos, test: 4 photos\n" in outcome.stderr
    assert "boats-train: features: shufflenet_v2_x0_5 on " in outcome.stderr


def test_train__corrupt_photos_are_skipped(outcomes: Outcomes) -> None:
    outcome = outcomes["corrupt"].result()
    assert outcome.returncode == 1, outcome.stderr
    lines = outcome.stderr.splitlines()
    skipped = [line.removeprefix("boats-train: skipped ") for line in lines if ": skipped " in line]
    photos = outcome.folder.with_name("corrupt photos")
    broken = [str(photos / name) for name in ("train/topa/01.jpg", "valid/gòndola/00.jpg")]
    assert [line.split(": ")[0] for line in skipped] == broken
    assert lines[-1] == "boats-train: 2 photos could not be read and were skipped"
    latest = outcome.folder / "runs" / "latest"
    assert outcome.stdout.splitlines()[-1] == f"run: runs/{latest.readlink()}"
    metrics = load_run(latest).metrics
    assert metrics["skipped"] == broken
    counts = {name: split["photos"] for name, split in metrics["splits"].items()}
    assert counts == {"train": 12, "valid": 6, "test": 4}


def test_train__interrupted(outcomes: Outcomes) -> None:
    outcome = outcomes["interrupted"].result()
    assert outcome.returncode == 130, outcome.stderr
    assert "features: " in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
    runs = outcome.folder / "runs"
    assert not runs.exists() or not list(runs.iterdir())


def test_train__disk_is_full(outcomes: Outcomes) -> None:
    outcome = outcomes["disk full"].result()
    assert outcome.returncode == 3, outcome.stderr
    last = outcome.stderr.splitlines()[-1]
    assert last == "boats-train: runs: the run can't be written: File too large"
    assert list((outcome.folder / "runs").iterdir()) == []


def test_train__weights_cant_be_downloaded(outcomes: Outcomes) -> None:
    outcome = outcomes["offline"].result()
    assert outcome.returncode == 2, outcome.stderr
    last = outcome.stderr.splitlines()[-1]
    address = "https://download.pytorch.org/models/squeezenet1_1"
    assert last.startswith(
        f"boats-train: the ImageNet weights could not be downloaded from {address}"
    )
    assert last.endswith("give --weights PATH with a state dict, or --weights none for random ones")
    assert outcome.stdout == ""
    assert not (outcome.folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--data", "nowhere"), 3, "nowhere: folder does not exist; pass --data DIR"),
        (("--image-size", "240"), 2, "--image-size 240: expected HEIGHTxWIDTH, like 240x800"),
        (("--image-size", "16x800"), 2, "--image-size 16x800: each side must be "),
        (("--seed", "-1"), 2, "--seed -1: must be 0 to 4294967295"),
    ],
)
def test_train__refused_at_once(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    outcome = run_command("boats-train", *arguments, cwd=tmp_path / "here")
    assert outcome.returncode == code
    assert outcome.stderr.startswith(f"boats-train: {message}")
    assert len(outcome.stderr.splitlines()) == 1
    assert outcome.stdout == ""
    assert list(outcome.folder.iterdir()) == []


@pytest.fixture
def exit_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., object]:
    """Runs the command in this process, which has PyTorch already, and gives its exit code."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("BOATS_")]:
        monkeypatch.delenv(variable)

    def run(*arguments: object) -> object:
        monkeypatch.setattr(sys, "argv", ["boats-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "forest"), 2, "--model"),
        (("--epochs", "3"), 2, "--epochs"),
        (("--backbone", "resnet5"), 2, "--backbone resnet5: not a classification network"),
        (("--backbone", "vit_b_16", "--weights", "none"), 2, "does not take photos of 240x800"),
        (("--weights", "nowhere.pth"), 3, "--weights nowhere.pth: no such file"),
        (("--weights", "text.pth"), 3, "--weights text.pth: not a file of weights"),
    ],
)
def test_train__refused(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    exit_of: Callable[..., object],
    dataset_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    assert exit_of("--data", dataset_folder, "--backbone", "squeezenet1_1", *arguments) == code
    output, errors = capsys.readouterr()
    assert message in errors
    assert output == ""
    assert not (tmp_path / "runs").exists()


def test_train__same_seed_same_metrics(
    outcomes: Outcomes, exit_of: Callable[..., object], dataset_folder: Path, tmp_path: Path
) -> None:
    assert exit_of("--data", dataset_folder, *TINY) == 0
    run, again = outcomes["well"].result().folder / "runs/latest", tmp_path / "runs/latest"
    assert read_metrics(again) == read_metrics(run)
    for name in ("config.json", "backbone.safetensors"):
        assert (again / name).read_bytes() == (run / name).read_bytes()


def test_train__other_seed_other_network(
    outcomes: Outcomes, exit_of: Callable[..., object], dataset_folder: Path, tmp_path: Path
) -> None:
    assert exit_of("--data", dataset_folder, "--seed", "1", *TINY) == 0
    name = "runs/latest/backbone.safetensors"
    other = (tmp_path / name).read_bytes()
    assert other != (outcomes["well"].result().folder / name).read_bytes()


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ("train/topa/*", "train/topa: none of its photos can be read"),
        ("train/*/*", "train: none of its 13 photos can be read"),
        ("valid/*/*", "valid: none of its 7 photos can be read"),
        ("test/*/*", "test: none of its 4 photos can be read"),
    ],
)
def test_train__no_photo_can_be_read(
    spoilt: str,
    message: str,
    exit_of: Callable[..., object],
    copy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(*copy.glob(spoilt))
    assert exit_of("--data", copy, *TINY) == 3
    assert capsys.readouterr().err.splitlines()[-1] == f"boats-train: {copy}/{message}"
    assert not (tmp_path / "runs").exists()


def test_train__out_is_a_file(
    exit_of: Callable[..., object],
    dataset_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "runs").write_text("mine")
    assert exit_of("--data", dataset_folder, *TINY) == 3
    last = capsys.readouterr().err.splitlines()[-1]  # before anything is trained
    assert last == "boats-train: runs: the run can't be written: Not a directory"
    assert (tmp_path / "runs").read_text() == "mine"
