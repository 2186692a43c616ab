"""Thousands of damaged images and models: none crashes, hangs, or affects the valid ones."""

import json
import random
from pathlib import Path

from boats_runtime.classifier import Classifier
from support.damaged_files import (
    damage_bytes,
    make_damaged_models,
    make_image_files,
    make_model_file,
)
from support.measure_process import ProcessResult, measure_process
from support.process import BIN, module_command

IMAGES = 3000
MODELS = 500
MEMORY_MB = 700
"""Limit of the peak memory: less than three images of `MAX_PIXELS` need."""

TIMEOUT_S = 300
"""Time after which a process counts as hanging, many times longer than it takes."""


def assert_memory(result: ProcessResult) -> None:
    # A process with ONNX Runtime needs more than 30 MB: otherwise the measurement is wrong.
    assert 30 < result.peak_mb < MEMORY_MB


def test_predict__damaged_images(tiny_model: Path, image_path: Path, tmp_path: Path) -> None:
    rng = random.Random(0)  # noqa: S311
    valid_files = make_image_files(image_path)
    folder = tmp_path / "images"
    folder.mkdir()
    valid_paths = []
    for number in range(IMAGES):
        content = damage_bytes(valid_files[number % len(valid_files)], rng)
        (folder / f"{number:05}.jpg").write_bytes(content)
        if number % 100 == 0:
            path = folder / f"{number:05}-valid.jpg"
            path.write_bytes(valid_files[number // 100 % len(valid_files)])
            valid_paths.append(path)
    options = ["--model", tiny_model, "--provider", "cpu", "--jsonl"]
    result = measure_process([BIN / "boats-predict", folder, *options], tmp_path, TIMEOUT_S)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    failures = [row for row in rows if row["status"] == "error"]
    # libtiff writes to stderr too.
    messages = [line for line in result.stderr.splitlines() if line.startswith("boats-predict")]
    assert len(messages) == 1
    assert messages[0].startswith(f"boats-predict: {len(failures)} of {len(rows)} images ")
    assert [row["path"] for row in rows] == sorted(str(path) for path in folder.iterdir())
    assert IMAGES // 4 < len(failures) < IMAGES  # otherwise the damage is too small or too large
    assert all(row["error"] and "\n" not in row["error"] for row in failures)
    classifier = Classifier(tiny_model, "cpu")
    labels = {row["path"]: row.get("label") for row in rows}
    for path in valid_paths:
        assert labels[str(path)] == classifier.predict(path).label
    assert_memory(result)


def test_classifier__damaged_models(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for number, content in enumerate(make_damaged_models(make_model_file(), MODELS)):
        (folder / f"{number:03}.onnx").write_bytes(content)
    result = measure_process(module_command("support.try_models", folder), tmp_path, TIMEOUT_S)
    assert (result.returncode, result.stderr) == (0, "")
    outcomes = [line.split(" ", 2)[1] for line in result.stdout.splitlines()]
    assert len(outcomes) == MODELS
    assert set(outcomes) == {"ModelError", "label"}
    assert outcomes.count("ModelError") > MODELS // 2
    assert "<newline>" not in result.stdout
    # Damage without a new digest is always detected.
    assert outcomes[1::2] == ["ModelError"] * (MODELS // 2)
    assert_memory(result)
