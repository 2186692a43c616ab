"""`boats-train --search` from end to end: interrupted, resumed, and with budgets that fail."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from boats_runtime.classifier import Classifier
from boats_train.runs.run import load_run
from boats_train.search.exported import open_backend
from support.process import CommandResult, run_command

NAME = "shufflenet_v2_x0_5"
OPTIONS = (
    "--search", "--backbones", f"{NAME}=none,resnet5=none", "--sizes", "64", "--cache", "cache",
)  # fmt: skip

Train = Callable[..., object]


@pytest.fixture(scope="module")
def interrupted(dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandResult:
    folder = tmp_path_factory.mktemp("search")
    options = ("--data", dataset_folder, *OPTIONS)
    return run_command("boats-train", *options, cwd=folder, interrupt_at="exporting")


@pytest.fixture(scope="module")
def stored(interrupted: CommandResult) -> dict[str, Any]:
    """What the interrupted search stored of its candidate."""
    (path,) = interrupted.folder.glob("runs/search-*/candidates/*.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.fixture(scope="module")
def finished(
    interrupted: CommandResult, stored: dict[str, Any], dataset_folder: Path
) -> CommandResult:
    del stored  # is read before
    return run_command(
        "boats-train", "--data", dataset_folder, *OPTIONS, "--unfreeze", "0", cwd=interrupted.folder
    )


def read_report(result: CommandResult) -> dict[str, Any]:
    (path,) = result.folder.glob("runs/search-*/search.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_search__interrupted(interrupted: CommandResult, stored: dict[str, Any]) -> None:
    assert interrupted.returncode == 130, interrupted.stderr
    assert interrupted.stdout == ""
    assert interrupted.stderr.splitlines()[-1] == "boats-train: interrupted"
    assert stored["cross_validation"]["photos"] == 13
    assert stored["latency"] is None
    (folder,) = interrupted.folder.glob("runs/*")
    names = {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}
    assert names == {"candidates", "data"}


def test_search__resumed_and_trained(finished: CommandResult, stored: dict[str, Any]) -> None:
    assert finished.returncode == 0, finished.stderr
    assert "skipped resnet5 64x64: --backbone resnet5: not a " in finished.stderr
    report = read_report(finished)
    fp32, int8 = report["candidates"]
    assert (fp32["precision"], int8["precision"]) == ("fp32", "int8")
    assert fp32["cross_validation"] == stored["cross_validation"]
    for candidate in (fp32, int8):
        assert candidate["latency"]["latency_ms"] > 0
        assert candidate["mb"] > 0
    lines = finished.stdout.splitlines()
    assert lines[0].split() == ["candidate", "accuracy", "macro-F1", "ms", "MB"]
    assert f"chosen: {report['chosen']}" in lines
    assert any("optimistic" in line for line in lines)
    run = load_run(finished.folder / "runs" / "latest")
    assert (run.config.backbone, run.config.weights) == (NAME, "none")
    assert (run.config.height, run.config.width, run.config.image_size) == (64, 64, "64x64")


def test_search__plot(finished: CommandResult) -> None:
    (path,) = finished.folder.glob("runs/search-*/search.png")
    with Image.open(path) as image:
        assert min(image.size) > 400


def test_open_backend__features_of_the_exported_file(finished: CommandResult) -> None:
    (path,) = finished.folder.glob("runs/search-*/candidates/*int8*.onnx")
    backend, digest = open_backend(path, "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(backend.run(pixels), Classifier(path, "cpu").embed(pixels))
    assert len(digest) == 64


def test_search__nothing_within_the_budget(
    finished: CommandResult,
    dataset_folder: Path,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(finished.folder)
    latest = (finished.folder / "runs" / "latest").readlink()
    options = ("--data", dataset_folder, *OPTIONS, "--budget-ms", "0.0001")
    assert train(*options) == 3
    output, errors = capsys.readouterr()
    assert "no candidate is within 0.0001 ms; the nearest is shufflenet_v2_x0_5 64x64 " in errors
    assert "exporting" not in errors  # the results are stored
    assert output.startswith("candidate")
    assert (finished.folder / "runs" / "latest").readlink() == latest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "cnn"), "omit --model"),
        (("--from", "runs"), "omit --from"),
        (("--compare",), "omit --compare"),
        (("--image-size", "224"), "omit --image-size"),
        (("--backbone", "resnet18"), "omit --backbone"),
        (("--budget-ms", "0"), "--budget-ms 0: must be above 0"),
        (("--sizes", "big"), "--sizes big: "),
    ],
)
def test_search__incompatible_options(
    options: tuple[str, ...], message: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--search", *options) == 2
    assert message in capsys.readouterr().err


def test_search__options_without_a_search(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--budget-ms", "3") == 2
    assert "are for --search" in capsys.readouterr().err


def test_train__help_has_groups_of_options(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    titles = ["Network:", "Search for the network:", "Classifier and its training:", "Options:"]
    assert [title for title in titles if title in lines] == titles
