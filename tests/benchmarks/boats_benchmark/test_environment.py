import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from boats_benchmark import environment as module
from boats_benchmark.environment import (
    Environment,
    busy_seconds,
    busy_warnings,
    commit,
    own_seconds,
    report,
    write_json,
)

BUSY = "import time\nuntil = time.monotonic() + 30\nwhile time.monotonic() < until: pass"


@pytest.mark.parametrize(
    ("before", "meanwhile", "said"),
    [
        (0.1, 0.2, []),
        (0.6, 0.0, ["0.6 cores before"]),
        (0.0, 1.04, ["1.0 cores meanwhile"]),
        (3.0, 4.0, ["3.0 cores before", "4.0 cores meanwhile"]),
        (None, None, []),
    ],
)
def test_busy_warnings__tell_of_others(
    before: float | None, meanwhile: float | None, said: list[str]
) -> None:
    warnings = busy_warnings(before, meanwhile)
    assert len(warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, warnings, strict=True))


def test_circumstances__notice_a_busy_loop() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY]) as loop:
        try:
            time.sleep(0.3)
            record = Environment()
            time.sleep(0.5)
            told = record.to_json()
        finally:
            loop.kill()
    assert len(told["warnings"]) == 2
    assert told["cores_of_others_before"] > 0.5
    assert told["cores_of_others_meanwhile"] > 0.5


def test_circumstances__what_they_measure_is_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, own = iter([10.0, 10.1, 10.1, 14.1]), iter([3.0, 6.9])
    monkeypatch.setattr(module, "busy_seconds", lambda: next(busy))
    monkeypatch.setattr(module, "own_seconds", lambda: next(own))
    monkeypatch.setattr(module.time, "monotonic", iter([100.0, 102.0]).__next__)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    told = Environment().to_json()
    assert told["cores_of_others_before"] == pytest.approx(0.2)
    assert told["cores_of_others_meanwhile"] == pytest.approx(0.05)
    assert told["warnings"] == []


def test_busy_seconds__reads_what_linux_counts(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 9999 888 4 6 50 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert busy_seconds(stat) == 210 / os.sysconf("SC_CLK_TCK")
    stat.write_text("")
    assert busy_seconds(stat) is None
    assert busy_seconds(tmp_path / "none") is None


def test_own_seconds__counts_processes_that_were_waited_for() -> None:
    before = own_seconds()
    subprocess.run([sys.executable, "-c", BUSY.replace("30", "0.4")], check=True)
    assert own_seconds() - before > 0.3


def test_commit__names_the_commit_and_its_changes(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        answer = subprocess.run(
            ["git", *settings, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return answer.stdout.strip()

    git("init", "--quiet")
    for name in ("code.py", "results.json"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    git("add", "--all")
    git("commit", "--quiet", "--message", "one")
    clean = commit(tmp_path)
    assert len(clean) == 12
    assert git("rev-parse", "HEAD").startswith(clean)
    (tmp_path / "results.json").write_text("2", encoding="utf-8")
    assert commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("2", encoding="utf-8")
    assert commit(tmp_path) == f"{clean}-dirty"


def test_commit__is_none_outside_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(tmp_path) is None


def test_report__writes_results_and_circumstances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "result.json"
    monkeypatch.setattr(module, "busy_warnings", lambda *_: ["others were busy"])
    report(path, {"rows": [1, 2]}, Environment())
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["rows"] == [1, 2]
    told = written["circumstances"]
    assert told["libraries"]["numpy"] == np.__version__
    assert told["cores_granted"] >= 1
    assert told["cpu"]
    assert told["warnings"] == ["others were busy"]
    assert capsys.readouterr().err == "warning: others were busy\n"


def test_write_json__leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
