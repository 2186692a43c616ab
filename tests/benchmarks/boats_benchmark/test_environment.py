import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from boats_benchmark import environment as module
from boats_benchmark.environment import (
    Environment,
    make_load_warnings,
    read_busy_seconds,
    read_commit,
)


@pytest.mark.parametrize(
    ("before", "during", "expected"),
    [
        (0.1, 0.2, []),
        (0.6, 0.0, ["0.6 cores before"]),
        (0.0, 1.04, ["1.0 cores during"]),
        (3.0, 4.0, ["3.0 cores before", "4.0 cores during"]),
        (None, None, []),
    ],
)
def test_make_load_warnings__cores_of_other_processes(
    before: float | None, during: float | None, expected: list[str]
) -> None:
    warnings = make_load_warnings(before, during)
    assert len(warnings) == len(expected)
    assert all(text in warning for text, warning in zip(expected, warnings, strict=True))


@pytest.mark.parametrize(("process_s", "expected"), [(3.9, 0.05), (2.0, 1.0)])
def test_environment__separates_other_processes(
    monkeypatch: pytest.MonkeyPatch, process_s: float, expected: float
) -> None:
    """In 2 s, all processes use 4 s of CPU time; this process and its children use `process_s`."""
    busy = iter([10.0, 10.1, 10.1, 14.1])
    start, end = os.times_result([1, 1, 1, 0, 0]), os.times_result([1, 1, 1, process_s, 0])
    times = iter([start, end])
    monkeypatch.setattr(module, "read_busy_seconds", lambda: next(busy))
    monkeypatch.setattr(module.os, "times", lambda: next(times))
    monkeypatch.setattr(module.time, "monotonic", iter([100.0, 102.0]).__next__)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    environment = Environment().to_json()
    assert environment["cores_of_others_before"] == pytest.approx(0.2)
    assert environment["cores_of_others_meanwhile"] == pytest.approx(expected)
    assert bool(environment["warnings"]) is (expected > 0.25)


def test_environment__machine_and_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_S", 0.01)
    environment = Environment().to_json()
    assert environment["libraries"]["numpy"] == np.__version__
    assert environment["cores_granted"] >= 1
    assert environment["cpu"]


def test_read_busy_seconds__proc_stat(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 9999 888 4 6 50 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert read_busy_seconds(stat) == 210 / os.sysconf("SC_CLK_TCK")
    stat.write_text("")
    assert read_busy_seconds(stat) is None
    assert read_busy_seconds(tmp_path / "missing") is None


def test_read_commit__changed_python_files_are_dirty(tmp_path: Path) -> None:
    def run_git(*arguments: str) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        command = ["git", *settings, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    run_git("init", "--quiet")
    for name in ("code.py", "results.json"):
        (tmp_path / name).write_text("1")
    run_git("add", "--all")
    run_git("commit", "--quiet", "--message", "message")
    commit = run_git("rev-parse", "HEAD")[:12]
    assert read_commit(tmp_path) == commit
    (tmp_path / "results.json").write_text("2")
    assert read_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("2")
    assert read_commit(tmp_path) == f"{commit}-dirty"


def test_read_commit__no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert read_commit(tmp_path) is None
