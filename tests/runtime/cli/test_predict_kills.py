"""Twenty kills of `boats-predict`: each image has exactly one result, and nothing is left over."""

import json
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from support.process import run_module
from support.toy_model import ToyModel

KILLS = 20
KILLED = -9
IMAGES = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with many small images."""
    path = tmp_path / "images"
    path.mkdir()
    for number in range(IMAGES):
        Image.new("RGB", (6, 4), (number, 0, 0)).save(path / f"{number:02}.png")
    return path


def run_and_kill(mode: str, folder: Path) -> list[int]:
    """Run the command with kills and return the exit codes."""
    model = ToyModel().save(folder.parent / "toy.onnx")
    result = run_module("support.kill_predict", mode, KILLS, model, folder, cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return json.loads(result.stdout)


def read_results(folder: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [(Path(row["path"]).name, row["status"]) for row in rows]


def test_predict__output_is_exact_after_20_kills(folder: Path, tmp_path: Path) -> None:
    (folder / "00.png").write_bytes(b"broken")  # classified again by each process
    assert run_and_kill("output", folder) == [KILLED] * KILLS + [1]
    assert read_results(tmp_path) == [
        (path.name, "error" if path.name == "00.png" else "ok") for path in sorted(folder.iterdir())
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"images", "results.jsonl", "toy.onnx"}


def test_predict__watch_is_exact_after_20_kills(folder: Path, tmp_path: Path) -> None:
    assert run_and_kill("watch", folder) == [KILLED] * KILLS + [130]
    names = Counter(name for name, status in read_results(tmp_path) if status == "ok")
    assert names == Counter(path.name for path in folder.iterdir())
    files = {"images", "journal", "results.jsonl", "toy.onnx"}
    assert {path.name for path in tmp_path.iterdir()} == files
    assert (tmp_path / "journal").read_bytes().count(b"\n") == IMAGES
