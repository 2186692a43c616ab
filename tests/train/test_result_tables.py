from pathlib import Path

import numpy as np
import pytest

from boats_metrics.classification import compute_metrics
from boats_runtime.text import is_printable
from boats_train.pipeline import TrainingResult
from boats_train.plots import draw_confusion
from boats_train.result_tables import format_result
from boats_train.runs.run import Run
from support.hostile_names import find_control, make_names

NAMES = make_names(500)


def test_format_result__hostile_labels(loaded_run: Run) -> None:
    targets = np.arange(500)
    metrics = compute_metrics(targets, targets, tuple(NAMES))
    result = TrainingResult(loaded_run, {"valid": metrics}, {}, {}, [], ())
    text = format_result(result)
    assert find_control(text) == ""
    assert text.count("\n") > 500


@pytest.mark.filterwarnings("ignore:Glyph")
def test_draw_confusion__labels_that_are_formulas(tmp_path: Path) -> None:
    labels = ("$x^$", "a$b", *filter(is_printable, NAMES[:40]))
    targets = np.arange(len(labels))
    figure = draw_confusion(compute_metrics(targets, targets, labels), "valid")
    figure.savefig(tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000
