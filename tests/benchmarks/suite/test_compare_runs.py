"""benchmarks/agree.py, as it is run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "agree.py"


def leave(folder: Path, **content: Any) -> Path:
    folder.mkdir()
    told = {"circumstances": {"load": [0.1, 0.2, 0.3]}, **content}
    (folder / "peers.json").write_text(json.dumps(told))
    return folder


def agree(*folders: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_agree__intervals_overlap(tmp_path: Path) -> None:
    first = leave(tmp_path / "a", rows=[{"share": [1.0, 0.9, 1.1], "values_ns": [1.0, 2.0, 3.0]}])
    second = leave(tmp_path / "b", rows=[{"share": [1.15, 1.1, 1.2], "values_ns": [9.0, 9.5, 9.9]}])
    result = agree(first, second)
    assert result.stdout.splitlines() == [
        "agree  peers, rows 0, share: 1.000 (0.900 to 1.100) and 1.150 (1.100 to 1.200)",
        "1 of 1 ratios agree",
    ]
    assert result.returncode == 0


def test_agree__intervals_apart(tmp_path: Path) -> None:
    first = leave(tmp_path / "a", of={"value": 1.0, "low": 0.9, "high": 1.1})
    second = leave(tmp_path / "b", of={"value": 1.2, "low": 1.11, "high": 1.3})
    result = agree(first, second)
    assert result.stdout.startswith("APART  peers, of: ")
    assert result.returncode == 5


def test_agree__nothing_in_common(tmp_path: Path) -> None:
    result = agree(leave(tmp_path / "a"), leave(tmp_path / "b"))
    assert "have no ratio in common" in result.stderr
    assert result.returncode == 2
