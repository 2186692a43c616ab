"""benchmarks/script.py, in a script of a few lines."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = """
import argparse
from suite.harness import Result, run_script, tell
def measure(options):
    return Result(f"| {tell([1.234, 1.0, 2.0])} |", {"count": options.count}, MISSED)
parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int)
run_script(parser, measure)
"""


@pytest.mark.parametrize(("missed", "code"), [([], 0), (["too slow"], 5)])
def test_run_script__table_values_and_missed_targets(
    tmp_path: Path, missed: list[str], code: int
) -> None:
    script = tmp_path / "quick.py"
    script.write_text(SCRIPT.replace("MISSED", repr(missed)))
    result = subprocess.run(
        [sys.executable, str(script), "--count", "3"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(BENCHMARKS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code
    assert result.stdout == "| 1.23 (1.00 to 2.00) |\n"
    assert ("target missed: too slow" in result.stderr) == bool(missed)
    written = json.loads((tmp_path / "benchmarks" / "results" / "quick.json").read_text())
    assert written["table"] == "| 1.23 (1.00 to 2.00) |"
    assert written["count"] == 3
    assert written["circumstances"]["cores_granted"] > 0
