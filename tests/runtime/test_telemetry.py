"""ONNX Runtime sends no telemetry and leaves no device id."""

import importlib
import os
from pathlib import Path

import pytest

import boats_runtime
from support.process import TESTS, run_command, run_module

SETTING = "ORT_DISABLE_TELEMETRY"


def test_predict__leaves_no_file_and_calls_no_network(
    tiny_model: Path, image_path: Path, tmp_path: Path
) -> None:
    home, log = tmp_path / "home", tmp_path / "audit.log"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PYTHONPATH": str(TESTS / "support" / "audit"),
        "AUDIT_LOG": str(log),
    }
    options = ("--model", tiny_model, "--provider", "cpu")
    result = run_command("boats-predict", image_path, *options, cwd=tmp_path, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert list(home.rglob("*")) == []
    assert log.read_text() == "started\n"


@pytest.mark.parametrize("module", ["boats_runtime", "boats_export.quantize", "boats_export.fp16"])
def test_import__disables_telemetry(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    result = run_module("support.print_variable", SETTING, module, check=True)
    assert result.stdout == "1\n"


def test_import__keeps_the_choice_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "0")
    importlib.reload(boats_runtime)
    assert os.environ[SETTING] == "0"
