import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from boats_benchmark.report import format_page, format_table
from boats_runtime.installation import install_command
from support.process import CommandResult, run_command, run_module

Benchmark = Callable[..., CommandResult]
QUICK = ("--duration", "0.2", "--rounds", "2")


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    """Run `boats-benchmark` in an empty folder."""

    def start(*arguments: object, env: dict[str, str] | None = None) -> CommandResult:
        result = run_command("boats-benchmark", *arguments, cwd=tmp_path, env=env)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return start


def test_benchmark__json_has_raw_values(
    benchmark: Benchmark, tiny_model: Path, image_path: Path
) -> None:
    variables = {"BOATS_BENCHMARK_PHOTOS": str(image_path.parent)}
    result = benchmark(tiny_model, "--json", *QUICK, env=variables)
    assert result.returncode == 0, result.stderr
    record = json.loads(result.stdout)
    (row,) = record["rows"]
    assert len(row["turns"]) == 2
    assert row["runs"] == sum(len(trial["values_ns"]) for trial in row["turns"])
    assert row["active_provider"] == "cpu"
    assert record["circumstances"]["cores_granted"] >= 1
    assert record["command"].startswith("boats-benchmark ")


def test_benchmark__output_folder(benchmark: Benchmark, tiny_model: Path, tmp_path: Path) -> None:
    options = ("--scenario", "offline", "--batch", "1,2", "--threads", "1,2")
    result = benchmark(tiny_model, *options, "--output", "out/deep", *QUICK)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "out" / "deep"
    plots = ["latency.png", "batches.png", "threads.png"]
    names = {path.name for path in folder.iterdir()}
    assert names == {"results.json", "results.md", *plots}
    for name in plots:
        with Image.open(folder / name) as image:
            assert image.width > 500
    record = json.loads((folder / "results.json").read_text())
    assert (folder / "results.md").read_text() == format_page(record, plots)
    lines = result.stdout.splitlines()
    assert lines == format_table(record["rows"], "offline")
    assert sorted(line.split()[2:4] for line in lines[1:]) == [
        ["1", "1"], ["1", "2"], ["2", "1"], ["2", "2"],
    ]  # fmt: skip


def test_benchmark__server_scenario(benchmark: Benchmark, tiny_model: Path) -> None:
    options = ("--scenario", "server", "--threads", "1", "--bound", "0.001", "--json")
    result = benchmark(tiny_model, *options, *QUICK)
    assert result.returncode == 0, result.stderr
    (row,) = json.loads(result.stdout)["rows"]
    assert row["server"]["rate"] is None  # no run takes less than a microsecond
    attempts = row["server"]["trials"]
    assert 1 <= len(attempts) <= 6
    # Half of 0.2 s, below the rate of one run after another, which is a mean of noisy runs.
    throughput = row["photos_per_second"]["value"]
    assert sum(attempt["images"] for attempt in attempts) <= 2 * throughput * 0.1 + 10


def test_benchmark__output_without_matplotlib(
    benchmark: Benchmark, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not installed')\n")
    variables = {"PYTHONPATH": str(tmp_path)}
    result = benchmark(tiny_model, "--output", "out", *QUICK, env=variables)
    assert result.returncode == 0, result.stderr
    assert f"plots need Matplotlib: {install_command('benchmark')}" in result.stderr
    assert (tmp_path / "out" / "results.md").is_file()


def test_benchmark__one_provider_fails(benchmark: Benchmark, tiny_model: Path) -> None:
    result = benchmark(tiny_model, "--provider", "qnn", "--provider", "cpu", *QUICK)
    assert result.returncode == 4
    assert "1 of 2 combinations failed: provider qnn is not in this" in result.stderr
    _, line, _ = result.stdout.splitlines()
    assert line.split()[:2] == ["boats.onnx", "cpu"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--provider", "tpu"], 2, "no provider is called tpu"),
        (["--duration", "0"], 2, "--duration 0: expected a positive number of seconds"),
        (["--duration", "nan"], 2, "--duration nan: expected a positive number"),
        (["--duration", "inf"], 2, "--duration inf: expected a positive number"),
        (["--bound", "nan"], 2, "--bound nan: expected a positive number of milliseconds"),
        (["--batch", "0", "--scenario", "offline"], 2, "--batch 0: expected positive integers"),
        (["--batch", "1,x", "--scenario", "offline"], 2, "--batch 1,x: expected positive"),
        (["--threads", ""], 2, "expected positive integers"),
        (["--batch", "8"], 2, "use --scenario offline"),
        (["--photos", "."], 2, "no images in this folder can be decoded"),
        (["--photos", "missing"], 2, "no images in this folder can be decoded"),
        (["--output", "file/out"], 3, "--output file/out: cannot be written"),
    ],
)
def test_benchmark__invalid_option(
    benchmark: Benchmark, tiny_model: Path, tmp_path: Path, options: list[str], code: int,
    message: str,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("x")
    result = benchmark(tiny_model, *options)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["missing.onnx", "image.jpg"])
def test_benchmark__unusable_file(
    benchmark: Benchmark, tmp_path: Path, image_path: Path, name: str
) -> None:
    (tmp_path / "image.jpg").write_bytes(image_path.read_bytes())
    result = benchmark(name)
    assert (result.returncode, result.stdout) == (3, "")
    assert name in result.stderr
    assert result.stderr.count("\n") == 1


def test_cli__import_is_light() -> None:
    modules = set(
        run_module("support.list_modules", "boats_benchmark.cli", check=True).stdout.split()
    )
    assert "typer" in modules
    assert not modules & {"numpy", "PIL", "matplotlib", "onnxruntime", "boats_benchmark.runner"}
