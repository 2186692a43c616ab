"""500 names and labels with control characters in the outputs of `boats-evaluate`."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boats_evaluate.evaluation import Evaluation
from boats_evaluate.file_metrics import Groups, UnknownClass
from boats_evaluate.labeled_images import LabeledImage
from boats_evaluate.report import render_report
from boats_evaluate.results import to_json
from boats_evaluate.selection import select_images
from boats_evaluate.terminal import format_evaluation
from boats_runtime.text import escape_text
from support.evaluations import make_evaluation
from support.hostile_names import find_control, make_names
from support.images import save_color_image
from support.models import COLOR_LABELS
from support.process import run_command
from support.special_files import make_special_files

NAMES = make_names(500)


@pytest.fixture(scope="module")
def hostile_evaluation() -> Evaluation:
    """An evaluation of 500 images in which every text is hostile."""
    labels = tuple(NAMES[:20])
    targets = np.arange(500) % 20
    evaluation = make_evaluation(labels, targets, targets, (targets + targets % 3) % 20)
    unknown = tuple(UnknownClass(name, 2, 1, labels[0]) for name in NAMES)
    metrics = evaluation.main.metrics.classification
    return replace(
        evaluation,
        folder=Path(NAMES[0].replace("\0", "")),
        images=tuple(
            LabeledImage(Path(name), labels[number % 20], number.to_bytes(32, "big"))
            for number, name in enumerate(NAMES)
        ),
        files=tuple(
            replace(file, name=name, provider=name, precision=name, unknown_classes=unknown)
            for file, name in zip(evaluation.files, NAMES, strict=False)
        ),
        groups=Groups(dict.fromkeys(NAMES, metrics), 3),
        unreadable=tuple(zip(NAMES, NAMES[::-1], strict=True)),
    )


def test_format_evaluation__no_control_character(hostile_evaluation: Evaluation) -> None:
    text = format_evaluation(hostile_evaluation, [(name, 0.5) for name in NAMES])
    assert find_control(text) == ""
    assert not any(line.startswith("image.jpg   topa") for line in text.splitlines())
    assert escape_text(NAMES[400]) in text


def test_render_report__no_control_character(hostile_evaluation: Evaluation) -> None:
    selection = select_images(hostile_evaluation, 24)
    references = [(name, 0.5) for name in NAMES]
    thumbnails = dict.fromkeys(range(500), "")
    text = render_report(hostile_evaluation, selection, [], thumbnails, references)
    assert find_control(text) == ""
    assert "\\udcff" not in text  # in the data of the scripts
    text.encode()


def test_to_json__names_survive_a_round_trip(hostile_evaluation: Evaluation) -> None:
    text = json.dumps(to_json(hostile_evaluation))
    assert text.isascii()
    assert text.isprintable()
    assert [image["path"] for image in json.loads(text)["unreadable"]] == NAMES


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_evaluate__hostile_and_special_files(color_model: Path, tmp_path: Path) -> None:
    names = [f"{name}.jpg" for name in make_names(60, in_file_names=True)]
    for number, name in enumerate(names):
        path = tmp_path / "images" / COLOR_LABELS[number % 3] / name
        save_color_image(path, (200, 30, 30), seed=number)
        if number % 5 == 0:
            path.write_bytes(b"broken")
    make_special_files(tmp_path / "images" / "red")
    arguments = (color_model, "images", "--provider", "cpu", "--groups", "(.*)")
    result = run_command("boats-evaluate", *arguments, "--report", "page.html", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith("boats-evaluate: 15 of 63 images cannot be read\n")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (result.stdout, result.stderr, page):
        assert find_control(text) == ""
    assert page.count("not a regular file") == 3
    rows = json.loads(run_command("boats-evaluate", *arguments, "--json", cwd=tmp_path).stdout)
    found = {os.path.basename(row["path"]) for key in ("photos", "unreadable") for row in rows[key]}  # noqa: PTH119
    assert found >= set(names)


def test_evaluate__class_folder_with_control_characters(color_model: Path, tmp_path: Path) -> None:
    save_color_image(tmp_path / "images" / "red" / "1.jpg", (200, 30, 30), seed=0)
    (tmp_path / "images" / "to\x1b[2Jpa").mkdir()
    result = run_command("boats-evaluate", color_model, "images", cwd=tmp_path)
    assert result.returncode == 3
    assert result.stderr.splitlines()[-1].startswith(
        r"boats-evaluate: images/to\x1b[2Jpa: the name"
    )
