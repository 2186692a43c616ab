import json
import signal
from pathlib import Path

import pytest

from support.process import run_module

pytest.importorskip("resource", reason="needs the limits of POSIX")


def test_exporter__killed_twenty_times(tiny_run: Path, tmp_path: Path) -> None:
    result = run_module("support.kill_export", tiny_run, tmp_path, check=True)
    outcomes = json.loads(result.stdout)
    kills = [kill for outcome in outcomes.values() for kill in outcome["kills"]]
    assert len(kills) == 20
    codes = [code for code, _, _ in kills]
    assert set(codes) == {-signal.SIGKILL, -signal.SIGXFSZ}
    assert codes.count(-signal.SIGXFSZ) == len(outcomes)
    assert {content for _, content, _ in kills} <= {"older", "whole"}
    assert any(left for _, _, left in kills)  # kills in the middle of a write
    assert max(left for _, _, left in kills) <= 2  # each export removes those of the last one
    for outcome in outcomes.values():
        assert (outcome["code"], outcome["names"]) == (0, ["boats.onnx"])
        assert outcome["whole"]
