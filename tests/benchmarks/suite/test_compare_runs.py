import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "suite" / "compare_runs.py"


def write_results(folder: Path, **content: Any) -> Path:
    folder.mkdir()
    record = {"circumstances": {"load": [0.1, 0.2, 0.3]}, **content}
    (folder / "peers.json").write_text(json.dumps(record))
    return folder


def compare(*folders: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compare_runs__overlapping_intervals(tmp_path: Path) -> None:
    first = {"share": [1.0, 0.9, 1.1], "values_ns": [1.0, 2.0, 3.0]}
    second = {"share": [1.15, 1.1, 1.2], "values_ns": [9.0, 9.5, 9.9]}
    result = compare(
        write_results(tmp_path / "a", rows=[first]), write_results(tmp_path / "b", rows=[second])
    )
    assert result.stdout.splitlines() == [
        "agree  peers, rows 0, share: 1.000 (0.900 to 1.100) and 1.150 (1.100 to 1.200)",
        "1 of 1 ratios agree",
    ]
    assert result.returncode == 0


@pytest.mark.parametrize("as_list", [True, False])
def test_compare_runs__separate_intervals(tmp_path: Path, as_list: bool) -> None:
    first = {"value": 1.0, "low": 0.9, "high": 1.1}
    second = {"value": 1.2, "low": 1.11, "high": 1.3}
    folders = []
    for name, ratio in (("a", first), ("b", second)):
        share = list(ratio.values()) if as_list else ratio
        folders.append(write_results(tmp_path / name, share=share))
    result = compare(*folders)
    assert result.stdout.startswith("APART  peers, share: ")
    assert result.returncode == 5


def test_compare_runs__no_common_ratio(tmp_path: Path) -> None:
    result = compare(write_results(tmp_path / "a"), write_results(tmp_path / "b"))
    assert "no ratio in common" in result.stderr
    assert result.returncode == 2
