import json
import signal
from pathlib import Path

import pytest

from support.process import run_module

pytest.importorskip("resource", reason="needs the signals of POSIX")


def test_write_run__killed_twenty_times(tiny_run: Path, tmp_path: Path) -> None:
    result = run_module("support.kill_write_run", tiny_run, tmp_path / "runs", 20, check=True)
    outcome = json.loads(result.stdout)
    assert {code for code, _ in outcome["kills"]} == {-signal.SIGKILL}
    latest = [name for _, name in outcome["kills"]]
    assert latest[0] == "counted"  # a kill at the start leaves the earlier run
    assert (outcome["code"], outcome["latest"]) == (0, "last")
    assert not [name for name in outcome["names"] if name.startswith(".")]
    completed = {name for name in outcome["names"] if name.startswith("killed-")}
    assert {name for name in latest if name != "counted"} <= completed
