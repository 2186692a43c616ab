"""Options and help that all commands share, and those of `boats-predict`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_runtime import __version__
from support.process import BIN, CommandResult, clean_environment, run_command

Predict = Callable[..., CommandResult]

COMMANDS = ("data", "train", "export", "evaluate", "predict", "benchmark", "doctor")


@pytest.mark.parametrize("name", COMMANDS)
def test_version__each_command(name: str, tmp_path: Path) -> None:
    for flag in ("--version", "-V"):
        result = run_command(f"boats-{name}", flag, cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == f"boats-{name} {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help__has_examples_and_shared_options(name: str, tmp_path: Path) -> None:
    arguments = ("check", "--help") if name == "data" else ("--help",)
    text = run_command(f"boats-{name}", *arguments, cwd=tmp_path).stdout
    _, examples = text.split("\nExamples:\n")
    assert all(f"boats-{name}" in line for line in examples.splitlines())
    shared = run_command(f"boats-{name}", "--help", cwd=tmp_path).stdout
    for option in ("-V, --version", "--install-completion", "--show-completion", "-h, --help"):
        assert option in shared


def test_help__groups_of_options(tmp_path: Path) -> None:
    text = run_command("boats-predict", "--help", cwd=tmp_path).stdout
    titles = [line for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == [
        "Arguments:", "Model:", "Output:", "Folder that a camera fills:", "Other options:",
        "Examples:",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["predict", "export"])
def test_completion__options_in_bash(name: str) -> None:
    variables = {
        f"_BOATS_{name.upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": f"boats-{name} --ver",
        "COMP_CWORD": "1",
    }
    result = subprocess.run(
        [BIN / f"boats-{name}"],
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["--version"]


def test_completion__is_installed_for_the_shell(tmp_path: Path) -> None:
    result = subprocess.run(
        ["bash", "-c", f"'{BIN / 'boats-export'}' --install-completion; exit $?"],
        env=clean_environment() | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "bash completion installed" in result.stdout
    assert (tmp_path / ".bash_completions" / "boats-export.sh").is_file()


def test_predict__quiet_prints_results_and_errors_only(
    predict: Predict, image_path: Path, tmp_path: Path
) -> None:
    for flag in ("-q", "--quiet"):
        result = predict(image_path, "missing.jpg", flag, provider=None)
        assert result.stdout.count("\n") == 2
        assert result.stderr == "boats-predict: 1 of 2 images could not be classified\n"
    result = predict(image_path, "-q", "--output", tmp_path / "r.jsonl", provider=None)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_predict__short_model_option(predict: Predict, image_path: Path, tiny_model: Path) -> None:
    result = predict(image_path, "-m", tiny_model, model=None)
    assert (result.returncode, result.stderr) == (0, "")


def test_predict__as_a_module(tiny_model: Path, image_path: Path) -> None:
    options = ("--model", str(tiny_model), "--provider", "cpu", str(image_path), os.devnull)
    results = [
        subprocess.run(
            [*command, *options], env=clean_environment(), capture_output=True, text=True,
            check=False,
        )
        for command in ([sys.executable, "-m", "boats_runtime"], [BIN / "boats-predict"])
    ]  # fmt: skip
    module, command = [(r.returncode, r.stdout, r.stderr) for r in results]
    assert module == command
    assert module[0] == 1


def test_predict__url(predict: Predict) -> None:
    result = predict("https://example.com/a.jpg")
    assert result.returncode == 1
    assert "URLs are not fetched: curl -L https://example.com/a.jpg | boats-predict -" in (
        result.stdout
    )


def test_predict__output_named_csv_is_refused(predict: Predict, tmp_path: Path) -> None:
    result = predict("a.jpg", "--output", "r.csv")
    assert result.returncode == 2
    assert result.stderr == (
        "boats-predict: --output r.csv: the file has JSON lines, name it r.jsonl; "
        "for CSV use --csv > r.csv\n"
    )
    assert list(tmp_path.iterdir()) == []
