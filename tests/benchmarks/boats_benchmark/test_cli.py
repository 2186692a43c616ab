import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from boats_benchmark.report import to_page, to_table
from support.process import CommandResult, run_command

COMMAND = "boats-benchmark"
Run = Callable[..., CommandResult]
QUICK = ("--duration", "0.2", "--rounds", "2")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `boats-benchmark` in an empty folder."""

    def start(*words: object, env: dict[str, str] | None = None) -> CommandResult:
        result = run_command(COMMAND, *words, cwd=tmp_path, env=env)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return start


def test_benchmark__table(run: Run, tiny_model: Path) -> None:
    result = run(tiny_model, "--scenario", "offline", "--batch", "1,2", "--threads", "1", *QUICK)
    assert result.returncode == 0, result.stderr
    head, *rows = result.stdout.splitlines()
    assert head.split()[:4] == ["file", "provider", "batch", "threads"]
    assert sorted(row.split()[:4] for row in rows) == [
        ["boats.onnx", "cpu", "1", "1"], ["boats.onnx", "cpu", "2", "1"],
    ]  # fmt: skip


def test_benchmark__json_keeps_raw_values(run: Run, tiny_model: Path, image_path: Path) -> None:
    result = run(tiny_model, "--json", "--photos", image_path.parent, *QUICK)
    assert result.returncode == 0, result.stderr
    whole = json.loads(result.stdout)
    (row,) = whole["rows"]
    assert len(row["turns"]) == 2
    assert row["runs"] == sum(len(turn["values_ns"]) for turn in row["turns"])
    assert row["active_provider"] == "cpu"
    assert whole["circumstances"]["cores_granted"] >= 1
    assert whole["command"].startswith("boats-benchmark ")


def test_benchmark__writes_results_and_plots(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    options = ("--scenario", "offline", "--batch", "1,2", "--threads", "1,2")
    result = run(tiny_model, *options, "--output", "out/deep", *QUICK)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "out" / "deep"
    assert sorted(path.name for path in folder.iterdir()) == [
        "batches.png", "latency.png", "results.json", "results.md", "threads.png",
    ]  # fmt: skip
    for name in ("batches", "latency", "threads"):
        with Image.open(folder / f"{name}.png") as image:
            assert image.width > 500
    whole = json.loads((folder / "results.json").read_text())
    page = (folder / "results.md").read_text()
    assert page == to_page(whole["rows"], whole, ["latency.png", "batches.png", "threads.png"])
    assert "--batch 1,2" in page
    assert to_table(whole["rows"], "offline") == result.stdout.splitlines()


def test_benchmark__server(run: Run, tiny_model: Path) -> None:
    options = ("--scenario", "server", "--threads", "1", "--bound", "0.001", "--json")
    result = run(tiny_model, *options, *QUICK)
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["rows"]
    assert row["server"]["rate"] is None  # nothing is answered in a microsecond
    assert len(row["server"]["trials"]) == 6


def test_benchmark__plots_need_matplotlib(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not installed')\n")
    result = run(tiny_model, "--output", "out", *QUICK, env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert "plots need Matplotlib: pip install 'boats[benchmark]'" in result.stderr
    assert (tmp_path / "out" / "results.md").is_file()


def test_benchmark__one_provider_is_not_there(run: Run, tiny_model: Path) -> None:
    result = run(tiny_model, "--provider", "qnn", "--provider", "cpu", *QUICK)
    assert result.returncode == 4
    assert "1 of 2 could not be measured: provider qnn is not in this" in result.stderr
    assert any(
        line.startswith("boats.onnx") and "cpu" in line for line in result.stdout.splitlines()
    )


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--provider", "tpu"], 2, "no provider is called tpu"),
        (["--duration", "0"], 2, "--duration 0: not a number of seconds above 0"),
        (["--duration", "nan"], 2, "--duration nan: not a number of seconds above 0"),
        (["--duration", "inf"], 2, "--duration inf: not a number of seconds above 0"),
        (["--bound", "nan"], 2, "--bound nan: not a number of milliseconds above 0"),
        (["--batch", "0", "--scenario", "offline"], 2, "--batch 0: not numbers from 1 on"),
        (["--batch", "1,x", "--scenario", "offline"], 2, "--batch 1,x: not numbers from 1 on"),
        (["--threads", ""], 2, "not numbers from 1 on"),
        (["--batch", "8"], 2, "--scenario offline takes batches"),
        (["--photos", "."], 2, "no photos in this folder that can be decoded"),
        (["--photos", "none"], 2, "no photos in this folder that can be decoded"),
        (["--output", "file/out"], 3, "--output file/out: can't be written"),
    ],
)
def test_benchmark__refused(
    run: Run, tiny_model: Path, tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    (tmp_path / "file").write_text("x")
    result = run(tiny_model, *options)
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_benchmark__no_model(run: Run, image_path: Path) -> None:
    for name, words in (("none.onnx", "no such model file"), (image_path, "not an ONNX model")):
        result = run(name)
        assert (result.returncode, result.stdout) == (3, "")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
