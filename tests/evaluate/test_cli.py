import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from boats_evaluate.cli import parse_reference
from boats_runtime.errors import UsageError
from support.process import BIN, CommandResult, run_command, run_module

COMMAND = "boats-evaluate"
FORBIDDEN = {"torch", "torchvision", "matplotlib", "skops", "onnx", "skl2onnx", "boats_export"}

GetResult = Callable[[str], CommandResult]


@pytest.fixture(scope="module")
def mixed_images(color_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The color images with a broken file, a name that is not UTF-8, and an unknown class."""
    folder = tmp_path_factory.mktemp("mixed") / "images"
    shutil.copytree(color_images, folder)
    (folder / "red" / "20130305_9.jpg").write_text("not an image")
    name = os.fsdecode(b"20130304_\xff.jpg")
    (folder / "green & co" / "20130304_0.jpg").rename(folder / "green & co" / name)
    (folder / "canoe").mkdir()
    shutil.copy(folder / "red" / "20130304_0.jpg", folder / "canoe" / "20130304_8.jpg")
    return folder


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of the commands."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def get_result(
    work_folder: Path,
    color_model: Path,
    red_model: Path,
    color_images: Path,
    mixed_images: Path,
    tiny_model: Path,
    dataset_folder: Path,
) -> Iterator[GetResult]:
    """A function that returns the result of a command by its name; two run at a time."""
    evaluate = partial(run_command, COMMAND, "--provider", "cpu", cwd=work_folder)
    baseline = evaluate(color_model, color_images, "--json")
    (work_folder / "baseline.json").write_text(baseline.stdout)
    compare = ("--compare", red_model, "--reference", "the report=0.5")
    gate = ("--gate", "baseline.json")
    commands: dict[str, tuple[object, ...]] = {
        "tiny": (tiny_model, dataset_folder / "valid", "--json"),
        "table": (color_model, color_images, *compare),
        "mixed": (color_model, mixed_images, "--report", "mixed.html", "--explain", 3),
        "passed": (color_model, color_images, *gate),
        "refused": (red_model, color_images, *gate, "--json", "--groups", "^2013"),
        "inconclusive": (red_model, color_images, *gate, "--report", "gate.html"),
        "allowed": (red_model, color_images, *gate, "--allow-inconclusive"),
        "labels": (color_model, color_images, "--compare", tiny_model),
        "dataset": (tiny_model, dataset_folder),
        "no model": ("missing.onnx", color_images),
        "no baseline": (color_model, color_images, "--gate", "missing.json"),
        "groups": (color_model, color_images, "--groups", "dog"),
    }
    with ThreadPoolExecutor(2) as pool:
        futures: dict[str, Future[CommandResult]] = {
            name: pool.submit(evaluate, *arguments) for name, arguments in commands.items()
        }

        def get(name: str) -> CommandResult:
            result = futures[name].result()
            assert "Traceback" not in result.stderr
            assert "Warning" not in result.stderr
            return result

        yield get
        pool.shutdown(cancel_futures=True)


def assert_error(result: CommandResult, exit_code: int, message: str) -> None:
    """Check that the command printed one line on standard error and nothing else."""
    assert (result.returncode, result.stdout) == (exit_code, "")
    assert result.stderr.startswith(f"{COMMAND}: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_evaluate__metrics_equal_those_of_training(get_result: GetResult, tiny_run: Path) -> None:
    result = get_result("tiny")
    assert (result.returncode, result.stderr) == (0, "")
    (file,) = json.loads(result.stdout)["files"]
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert file["metrics"] == metrics["splits"]["valid"]
    assert file["threshold"] == metrics["operating_point"]["threshold"]
    assert (file["training_split"], file["epoch_chosen_on_these"]) == ("valid", False)


def test_evaluate__threshold_zero_is_no_threshold(color_model: Path, color_images: Path) -> None:
    options = ("--threshold", 0, "--provider", "cpu")
    result = run_command(COMMAND, color_model, color_images, *options, cwd=color_images)
    assert "  no threshold       coverage 100.0%, selective accuracy 85.0%\n" in result.stdout


def test_evaluate__table(
    get_result: GetResult, color_model: Path, red_model: Path, color_images: Path
) -> None:
    result = get_result("table")
    assert (result.returncode, result.stderr) == (0, "")
    summary, classes, confusions, groups, files = result.stdout.split("\n\n")
    for line, start in zip(
        summary.splitlines(),
        (
            f"{color_model} on {color_images}: 20 images",
            "  accuracy           0.850 (95%: ",
            "  balanced accuracy  0.821 (95%: ",
            "  macro-F1           0.816 (95%: ",
            "  intervals          over 2 groups of images; fewer than 5 say little about others",
            "  calibration error  0.",
            "  threshold 0.5      coverage 100.0%, selective accuracy 85.0%",
        ),
        strict=True,
    ):
        assert line.startswith(start)
    assert classes.splitlines() == [
        "class       precision  recall     F1  images",
        "<script>        0.900   1.000  0.947       9",
        "green & co      1.000   0.714  0.833       7",
        "red             0.600   0.750  0.667       4 *",
        "* fewer than 5 images: not reliable",
    ]
    assert confusions.splitlines() == [
        "most frequent confusions",
        "  green & co  predicted as  red          2 of 7",
        "  red         predicted as  <script>     1 of 4",
    ]
    header, day, _ = groups.splitlines()
    assert header.split() == ["group", "accuracy", "(95%)", "macro-F1", "images"]
    assert day.startswith("20130304  0.909 (")
    _, first, second, reference, _, _ = files.splitlines()
    assert first.split() == [str(color_model), "0.850", "0.821", "0.816"]
    assert second.split()[:6] == [str(red_model), "0.200", "0.333", "0.111", "14", "1"]
    assert reference.split() == ["the", "report", "0.500", "reported", "on", "other", "images"]


def test_evaluate__unreadable_image_and_unknown_class(
    get_result: GetResult, work_folder: Path
) -> None:
    result = get_result("mixed")
    assert result.returncode == 1
    report, error = result.stderr.splitlines()
    assert report.startswith(f"{COMMAND}: report: mixed.html, 0.")
    assert error == f"{COMMAND}: 1 of 22 images cannot be read"
    assert "20 images\n  accuracy           0.850 " in result.stdout
    *_, unknown, unreadable = result.stdout.split("\n\n")
    assert unknown.splitlines() == [
        "classes that the model does not have, not included in the metrics",
        "  canoe  0 of 1 reported as unknown, most frequent prediction: red",
    ]
    heading, line = unreadable.splitlines()
    assert heading == "unreadable images, not included in the metrics"
    assert line.startswith("  red/20130305_9.jpg: ")
    page = (work_folder / "mixed.html").read_text()
    assert 'not included in the metrics: <a href="#unreadable">1</a>' in page
    assert 'not included in the metrics: <a href="#unknown-classes">1</a>' in page


def test_evaluate__gate_passes_the_same_file(get_result: GetResult) -> None:
    result = get_result("passed")
    assert (result.returncode, result.stderr) == (0, "")
    *_, gate = result.stdout.split("\n\n")
    first, _, _, accuracy, *_, last = gate.splitlines()
    assert first.startswith("gate passed: compared with ")
    assert first.endswith(" on the same 20 images")
    assert accuracy.split()[:3] == ["accuracy", "0.850", "0.850"]
    assert accuracy.split()[-2:] == ["0.5", "pass"]
    assert last == "  not checked, fewer than 5 images: red"


def test_evaluate__gate_refuses_a_worse_file(get_result: GetResult) -> None:
    result = get_result("refused")
    assert result.returncode == 5
    assert result.stderr.startswith(f"{COMMAND}: refused: worse than ")
    assert result.stderr.count("\n") == 1
    assert "accuracy 0.200 instead of 0.850" in result.stderr
    assert "recall of <script> 0.000 instead of 1.000" in result.stderr
    gate = json.loads(result.stdout)["gate"]
    assert (gate["passed"], gate["verdict"], gate["interval_groups"]) == (False, "fail", 1)
    assert gate["too_few"] == ["red"]


def test_evaluate__gate_is_inconclusive(get_result: GetResult, work_folder: Path) -> None:
    # The same files on 2 days, which say little about others.
    result = get_result("inconclusive")
    assert result.returncode == 5
    _, error = result.stderr.splitlines()
    assert error.startswith(f"{COMMAND}: inconclusive: the 20 images do not show that")
    page = (work_folder / "gate.html").read_text()
    assert "Deployment gate: inconclusive" in page
    assert "over 2 groups of images; fewer than 5 say little about others" in page
    allowed = get_result("allowed")
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert "gate inconclusive: compared with " in allowed.stdout
    assert "inconclusive, worse on these images" in allowed.stdout


@pytest.mark.parametrize(
    ("name", "exit_code", "message"),
    [
        ("labels", 2, "labels differ from those of"),
        ("dataset", 2, "this is a whole dataset"),
        ("no model", 3, "missing.onnx"),
        ("no baseline", 3, "missing.json: cannot be read"),
        ("groups", 2, "--groups dog: does not match"),
    ],
)
def test_evaluate__unusable_inputs(
    get_result: GetResult, name: str, exit_code: int, message: str
) -> None:
    assert_error(get_result(name), exit_code, message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--report", "no/folder.html"), "must be a file in an existing folder"),
        (("--report", "model.onnx"), "is an input of this command"),
        (("--max-drop", "1"), "--allow-inconclusive require --gate"),
        (("--allow-inconclusive",), "--allow-inconclusive require --gate"),
        (("--reference", "nothing"), "must be NAME=ACCURACY"),
    ],
)
def test_evaluate__invalid_options(
    color_model: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    shutil.copy(color_model, tmp_path / "model.onnx")
    result = run_command(COMMAND, "model.onnx", tmp_path, *options, cwd=tmp_path)
    assert_error(result, 2, message)
    assert (tmp_path / "model.onnx").read_bytes() == color_model.read_bytes()


@pytest.mark.parametrize("text", ["=0.5", "a", "a=", "a=1.5", "a=nan", "a=-0.1"])
def test_parse_reference__invalid(text: str) -> None:
    with pytest.raises(UsageError, match="must be NAME=ACCURACY"):
        parse_reference(text)


def test_parse_reference__name_with_equals_sign() -> None:
    assert parse_reference("SVM, C=10=0.872") == ("SVM, C=10", 0.872)


def test_evaluate__does_not_import_pytorch(
    color_model: Path, color_images: Path, tmp_path: Path
) -> None:
    arguments = (color_model, color_images, "--report", tmp_path / "report.html")
    result = run_module("support.list_modules", "boats_evaluate.cli:main", *arguments)
    assert result.returncode == 0, result.stderr
    modules = set(result.stdout.splitlines()[-1].split())
    assert {"onnxruntime", "sklearn", "jinja2", "boats_metrics.classification"} <= modules
    assert not modules & FORBIDDEN
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_evaluate__full_disk_keeps_the_old_report(
    color_model: Path, color_images: Path, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("old")
    arguments = (color_model, color_images, "--report", "report.html")
    result = run_command(COMMAND, *arguments, cwd=tmp_path, file_size_limit=10_000)
    assert result.returncode == 3
    assert result.stderr.splitlines()[-1].startswith(f"{COMMAND}: report.html: ")
    assert result.stderr.endswith("File too large\n")
    assert result.files() == {"report.html": len("old")}


def test_evaluate__closed_standard_output(
    color_model: Path, color_images: Path, tmp_path: Path
) -> None:
    command = [BIN / COMMAND, color_model, color_images, "--report", "report.html"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_evaluate__interrupted(color_model: Path, color_images: Path, tmp_path: Path) -> None:
    arguments = (color_model, color_images, "--report", "report.html")
    result = run_command(COMMAND, *arguments, cwd=tmp_path, interrupt_at="on cpu")
    assert (result.returncode, result.files()) == (130, {})
    assert result.stderr.splitlines()[-1] == f"{COMMAND}: interrupted"
