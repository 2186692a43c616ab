import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from boats_evaluate.cli import parse_reference
from boats_runtime.errors import UsageError
from support.process import CommandResult, run_command

COMMAND = "boats-evaluate"
Evaluate = Callable[..., CommandResult]
Futures = dict[str, "Future[CommandResult]"]

FORBIDDEN = {"torch", "torchvision", "matplotlib", "skops", "onnx", "skl2onnx", "boats_export"}
RUN_AND_LIST_MODULES = """
import json, sys
from boats_evaluate.cli import main
sys.argv[0] = "boats-evaluate"
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def spoiled(painted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The painted photos, a broken one among them, a name that is no text, an unknown class."""
    folder = tmp_path_factory.mktemp("spoiled") / "photos"
    shutil.copytree(painted, folder)
    (folder / "red" / "20130305_9.jpg").write_text("no photo")
    name = os.fsdecode(b"20130304_\xff.jpg")
    (folder / "green & co" / "20130304_0.jpg").rename(folder / "green & co" / name)
    (folder / "canoe").mkdir()
    shutil.copy(folder / "red" / "20130304_0.jpg", folder / "canoe" / "20130304_8.jpg")
    return folder


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command runs in."""
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def futures(
    here: Path,
    colours: Path,
    reddish: Path,
    painted: Path,
    spoiled: Path,
    tiny_model: Path,
    dataset_folder: Path,
) -> Iterator[Futures]:
    """Runs the command in processes of their own, two at a time: imports take most of the time."""
    evaluate = partial(run_command, COMMAND, "--provider", "cpu", cwd=here)
    with ThreadPoolExecutor(2) as pool:
        baseline = pool.submit(evaluate, colours, painted, "--json")
        (here / "baseline.json").write_text(baseline.result().stdout)
        calls: dict[str, tuple[object, ...]] = {
            "tiny": (tiny_model, dataset_folder / "valid", "--json"),
            "table": (colours, painted, "--compare", reddish, "--reference", "the report=0.5"),
            "spoiled": (colours, spoiled, "--report", "spoiled.html", "--explain", 3),
            "passed": (colours, painted, "--gate", "baseline.json"),
            "refused": (reddish, painted, "--gate", "baseline.json", "--json"),
            "other labels": (colours, painted, "--compare", tiny_model),
            "whole set": (tiny_model, dataset_folder),
            "missing model": ("missing.onnx", painted),
            "no baseline": (colours, painted, "--gate", "missing.json"),
            "groups": (colours, painted, "--groups", "dog"),
        }
        yield {"baseline": baseline} | {
            name: pool.submit(evaluate, *arguments) for name, arguments in calls.items()
        }
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def result_of(futures: Futures) -> Callable[[str], CommandResult]:
    def get(name: str) -> CommandResult:
        result = futures[name].result()
        assert "Traceback" not in result.stderr
        assert "Warning" not in result.stderr
        return result

    return get


ResultOf = Callable[[str], CommandResult]


def assert_refused(result: CommandResult, exit_code: int, *words: str) -> None:
    """Checks that a command ended with one line on stderr, which holds the words."""
    assert (result.returncode, result.stdout) == (exit_code, "")
    assert result.stderr.startswith(f"{COMMAND}: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


# --- the numbers


def test_evaluate__numbers_are_those_of_training(result_of: ResultOf, tiny_run: Path) -> None:
    """The must-hold: the same photos, the same numbers, on the shipped file."""
    result = result_of("tiny")
    assert (result.returncode, result.stderr) == (0, "")
    (file,) = json.loads(result.stdout)["files"]
    metrics = json.loads((tiny_run / "metrics.json").read_text())
    assert file["metrics"] == metrics["splits"]["valid"]
    assert file["threshold"] == metrics["operating_point"]["threshold"]


def test_evaluate__numbers_are_scikit_learns(result_of: ResultOf) -> None:
    value = json.loads(result_of("baseline").stdout)
    photos = value["photos"]
    truth = [photo["label"] for photo in photos]
    predicted = [photo["predicted"][0] for photo in photos]
    metrics = value["files"][0]["metrics"]
    assert metrics["accuracy"] == 17 / 20
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, predicted))
    expected = f1_score(truth, predicted, average="macro")
    assert metrics["macro_f1"] == pytest.approx(expected)


# --- what it prints


def test_evaluate__table(result_of: ResultOf, colours: Path, reddish: Path, painted: Path) -> None:
    result = result_of("table")
    assert (result.returncode, result.stderr) == (0, "")
    first, *lines = result.stdout.splitlines()
    assert first == f"{colours} on {painted}: 20 photos"
    assert lines[0].startswith("  accuracy           0.850 (95 %: ")
    assert lines[1].startswith("  balanced accuracy  0.821 (95 %: ")
    assert lines[2].startswith("  macro-F1           0.816 (95 %: ")
    assert lines[3].startswith("  calibration error  0.")
    assert lines[4].startswith("  unknown under 0.5  ")
    blocks = result.stdout.split("\n\n")
    assert blocks[1].splitlines() == [
        "class       precision  recall     F1  photos",
        "<script>        0.900   1.000  0.947       9",
        "green & co      1.000   0.714  0.833       7",
        "red             0.600   0.750  0.667       4 *",
        "* fewer than 5 photos: nothing can be claimed of this class",
    ]
    assert blocks[2].splitlines() == [
        "most frequent mistakes",
        "  green & co  taken for  red          2 of 7",
        "  red         taken for  <script>     1 of 4",
    ]
    header, day, _ = blocks[3].splitlines()
    assert header.split() == ["group", "accuracy", "(95", "%)", "macro-F1", "photos"]
    assert day.startswith("20130304  0.909 (")
    _, *files = blocks[4].splitlines()
    assert files[0].split() == [str(colours), "0.850", "0.821", "0.816"]
    assert files[1].split()[:6] == [str(reddish), "0.200", "0.333", "0.111", "14", "1"]
    assert files[2].split() == ["the", "report", "0.500", "on", "other", "photos,", "as", "given"]


def test_evaluate__spoiled_folder(result_of: ResultOf, here: Path) -> None:
    result = result_of("spoiled")
    assert result.returncode == 1
    report, last = result.stderr.splitlines()
    assert report.startswith(f"{COMMAND}: report: spoiled.html, 0.")
    assert last == f"{COMMAND}: 1 of 22 photos could not be read"
    *_, strangers, unreadable = result.stdout.split("\n\n")
    assert strangers.splitlines() == [
        "classes that the model doesn't know, counted apart",
        "  canoe  0 of 1 called unknown, most taken for red",
    ]
    head, line = unreadable.splitlines()
    assert head == "could not be read, and not counted"
    assert line.startswith("  red/20130305_9.jpg: not an image of a known format")
    assert "20 photos\n  accuracy           0.850 " in result.stdout
    page = (here / "spoiled.html").read_text()
    assert 'Photos that could not be read, and are not counted: <a href="#unreadable">1</a>' in page
    assert "Photos of classes that the model doesn't know, counted apart:" in page


# --- the gate


def test_evaluate__gate_lets_the_same_file_pass(result_of: ResultOf) -> None:
    result = result_of("passed")
    assert (result.returncode, result.stderr) == (0, "")
    *_, gate = result.stdout.split("\n\n")
    first, _, accuracy, *_, last = gate.splitlines()
    assert first.startswith("gate passed: against ")
    assert first.endswith("on the same 20 photos")
    assert accuracy.split() == ["accuracy", "0.850", "0.850", "1"]
    assert last == "  not checked, fewer than 5 photos: red"


def test_evaluate__gate_refuses_a_worse_file(result_of: ResultOf) -> None:
    result = result_of("refused")
    assert result.returncode == 5
    assert result.stderr.startswith(f"{COMMAND}: refused, worse than ")
    assert result.stderr.count("\n") == 1
    assert "accuracy 0.200 instead of 0.850" in result.stderr
    assert "recall of <script> 0.000 instead of 1.000" in result.stderr
    gate = json.loads(result.stdout)["gate"]
    assert gate["passed"] is False
    assert gate["too_few"] == ["red"]


# --- what can't be done


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("other labels", 2, ("has other labels than",)),
        ("whole set", 2, ("is a whole picture set", "/valid")),
        ("missing model", 3, ("missing.onnx: no such model file",)),
        ("no baseline", 3, ("missing.json: can't be read",)),
        ("groups", 2, ("--groups dog: does not match",)),
    ],
)
def test_evaluate__refused_in_one_line(
    result_of: ResultOf, name: str, code: int, words: tuple[str, ...]
) -> None:
    assert_refused(result_of(name), code, *words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--report", "no/where.html"), "must be a file in a folder that exists"),
        (("--report", "model.onnx"), "is read by this very call"),
        (("--max-drop", "1"), "--max-drop and --significance are for --gate"),
        (("--reference", "nothing"), "must be NAME=ACCURACY"),
    ],
)
def test_evaluate__options_that_make_no_sense(
    colours: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    shutil.copy(colours, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    result = run_command(COMMAND, "model.onnx", tmp_path, *options, cwd=tmp_path)
    assert_refused(result, 2, message)
    assert (tmp_path / "model.onnx").read_bytes() == content


@pytest.mark.parametrize("text", ["=0.5", "a", "a=", "a=1.5", "a=nan", "a=-0.1"])
def test_parse_reference__malformed(text: str) -> None:
    with pytest.raises(UsageError, match="must be NAME=ACCURACY"):
        parse_reference(text)


def test_parse_reference__the_last_sign_counts() -> None:
    assert parse_reference("SVM, C=10=0.872") == ("SVM, C=10", 0.872)


# --- light


def test_evaluate__imports_no_pytorch(colours: Path, painted: Path, tmp_path: Path) -> None:
    report = ("--report", tmp_path / "report.html")
    result = subprocess.run(
        [sys.executable, "-c", RUN_AND_LIST_MODULES, colours, painted, *report],
        cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    modules = set(json.loads(result.stderr.splitlines()[-1]))
    assert {"onnxruntime", "sklearn", "jinja2", "boats_metrics.classification"} <= modules
    assert not modules & FORBIDDEN
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


# --- stopped


def test_evaluate__disk_full_leaves_the_older_page(
    colours: Path, painted: Path, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("older")
    outcome = run_command(
        COMMAND, colours, painted, "--report", "report.html", cwd=tmp_path, file_size_limit=10_000
    )
    assert outcome.returncode == 3
    assert outcome.stderr.splitlines()[-1] == (
        f"{COMMAND}: report.html: can't be written: File too large"
    )
    assert outcome.files() == {"report.html": len("older")}


def test_evaluate__nobody_reads_the_results(colours: Path, painted: Path, tmp_path: Path) -> None:
    command = [Path(sys.executable).parent / COMMAND, colours, painted, "--report", "report.html"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_evaluate__interrupted(colours: Path, painted: Path, tmp_path: Path) -> None:
    arguments = (colours, painted, "--report", "report.html")
    outcome = run_command(COMMAND, *arguments, cwd=tmp_path, interrupt_at="on cpu")
    assert (outcome.returncode, outcome.files()) == (130, {})
    assert outcome.stderr.splitlines()[-1] == f"{COMMAND}: interrupted"
