import json
from pathlib import Path

import pytest

from boats_benchmark import environment
from suite.harness import ScriptResult, run_script


def measure(target: str, count: int = 3) -> ScriptResult:
    missed = [target] if target else []
    return ScriptResult(f"| {count} |", {"count": count, "type": type(count).__name__}, missed)


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to run in, without the half second in which the load is sampled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "SAMPLE_S", 0.01)
    monkeypatch.setattr(environment, "make_load_warnings", lambda *_: ["busy machine"])


@pytest.mark.parametrize(("target", "code"), [("", 0), ("too slow", 5)])
def test_run_script__table_values_and_missed_targets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str, code: int
) -> None:
    monkeypatch.setattr("sys.argv", ["quick.py", "--count", "4", "--target", target])
    with pytest.raises(SystemExit) as stop:
        run_script(measure)
    assert stop.value.code == code
    output = capsys.readouterr()
    assert output.out == "| 4 |\n"
    assert "warning: busy machine\n" in output.err
    assert ("target missed: too slow" in output.err) == bool(target)
    record = json.loads(Path("benchmarks/results/quick.json").read_text())
    assert (record["table"], record["count"], record["type"]) == ("| 4 |", 4, "int")
    assert record["circumstances"]["warnings"] == ["busy machine"]


def test_run_script__required_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["quick.py"])
    with pytest.raises(SystemExit) as stop:
        run_script(measure)
    assert stop.value.code == 2
    assert "required: --target" in capsys.readouterr().err
