from typing import Any

import pytest

from boats_train.result_tables import format_cross_validation

INTERVALS = {"accuracy_interval": (0.8, 0.9), "macro_f1_interval": (0.6, 0.8)}
METRICS: dict[str, Any] = {
    "cross_validation": {
        "chosen": {"scaling": "l2", "cost": 3.0, "gamma_factor": 0.7, "class_weight": None},
        "splits": ["train"],
        "photos": 90,
    },
    "cross_validation_with_valid": {
        "kind": "stratified",
        "folds": {"fold 1": 0.85, "fold 2": 0.87},
        "mean_accuracy": 0.86,
        "accuracy": 0.85,
        "macro_f1": 0.7,
        "splits": ["train", "valid"],
        "photos": 100,
        **INTERVALS,
    },
}
POINT = {
    "threshold": 0.5, "coverage": 0.9, "accuracy": 0.95, "splits": ["train"], "photos": 88,
    "excluded": 0,
}  # fmt: skip


def format_point(**changes: object) -> str:
    return format_cross_validation({**METRICS, "operating_point": POINT | changes})[-1]


def test_format_cross_validation__lines_name_their_images() -> None:
    assert format_cross_validation({**METRICS, "operating_point": POINT}) == [
        "cross-validation, stratified (fold 1, fold 2), 100 images of train and valid: "
        "mean accuracy 0.860",
        "  all 100 images, each while held out: accuracy 0.850 (0.800 to 0.900), "
        "macro-F1 0.700 (0.600 to 0.800)",
        "  hyperparameters, selected on 90 images of train: scaler l2, C 3, gamma 0.7 x scale, "
        "class weights None",
        "  threshold 0.50: coverage 90.0%, selective accuracy 95.0% on 88 images of train, "
        "each while held out",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"excluded": 2},
            "  threshold 0.50: coverage 90.0%, selective accuracy 95.0% on 88 images of train, "
            "each while held out; without 2 images whose class is in one fold only",
            id="images that calibration learned from",
        ),
        pytest.param(
            {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.97},
            "  no threshold: accuracy 97.0% on 88 images of train, each while held out",
            id="no threshold is needed",
        ),
    ],
)
def test_format_cross_validation__threshold(changes: dict[str, object], expected: str) -> None:
    assert format_point(**changes) == expected


def test_format_cross_validation__no_image_was_held_out() -> None:
    lines = format_cross_validation({**METRICS, "operating_point": None})
    assert lines[-1] == "  no threshold: each class has all its images in one fold"
