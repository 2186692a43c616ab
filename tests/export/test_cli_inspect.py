import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_train.runs.run import Run
from support.process import run_module

Main = Callable[..., object]
Capture = pytest.CaptureFixture[str]


def test_inspect__prints_the_metadata(run_main: Main, tiny_model: Path, capsys: Capture) -> None:
    assert run_main("inspect", tiny_model) == 0
    output = capsys.readouterr().out
    assert "fp32, opset 18, " in output
    assert "3: barca lunga, gòndola, topa" in output
    assert "64x160 RGB uint8" in output


def test_inspect__json(run_main: Main, tiny_model: Path, loaded_run: Run, capsys: Capture) -> None:
    assert run_main("inspect", tiny_model, "--json") == 0
    metadata = json.loads(capsys.readouterr().out)
    assert metadata["file"] == str(tiny_model)
    assert metadata["labels"] == list(loaded_run.classes)
    assert metadata["provenance"]["proof"]["photos"] == 7


def test_inspect__json_from_the_environment(
    run_main: Main, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("BOATS_EXPORT_INSPECT_AS_JSON", "1")
    assert run_main("inspect", tiny_model) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(tiny_model)


def test_inspect__help(run_main: Main, capsys: Capture) -> None:
    assert run_main("inspect", "--help") == 0
    assert capsys.readouterr().out.startswith("Usage: boats-export inspect [OPTIONS] [file]\n")


def test_inspect__needs_only_the_runtime(tiny_model: Path) -> None:
    result = run_module(
        "support.list_modules", "boats_export.cli:main", "inspect", tiny_model, check=True
    )
    modules = set(result.stdout.splitlines()[-1].split())
    assert "boats_runtime.model.describe" in modules
    packages = {"onnx", "torch", "sklearn", "skl2onnx", "skops", "boats_train", "boats_data"}
    assert not packages & modules


def flip_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "digest"),
        (lambda content: content[:-1000], "not an ONNX model"),
        (lambda _: b"", "not an ONNX model"),
    ],
)
def test_inspect__damaged_file(
    run_main: Main, tiny_model: Path, tmp_path: Path, capsys: Capture,
    damage: Callable[[bytes], bytes], message: str,
) -> None:  # fmt: skip
    (tmp_path / "boats.onnx").write_bytes(damage(tiny_model.read_bytes()))
    assert run_main("inspect") == 3
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("boats-export: boats.onnx: ")
    assert message in errors


def test_inspect__no_file(run_main: Main, capsys: Capture) -> None:
    assert run_main("inspect", "gone.onnx") == 3
    assert capsys.readouterr().err.startswith("boats-export: gone.onnx: ")
