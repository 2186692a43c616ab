"""JSON output of an evaluation, described in `docs/reference/json.md`; `--gate` reads it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from boats_evaluate.evaluation import Evaluation, FileResult
from boats_evaluate.file_metrics import MIN_SUPPORT
from boats_runtime.errors import DataError

SCHEMA_VERSION = 1
"""Version of the output; increases when the meaning of a key changes."""


def to_json(evaluation: Evaluation, gate: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return an evaluation and the result of the deployment gate as JSON values."""
    labels, groups = evaluation.labels, evaluation.groups
    predictions = [file.predictions for file in evaluation.files]
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": str(evaluation.folder),
        "labels": list(labels),
        "files": [_file_to_json(file) for file in evaluation.files],
        "groups": groups
        and [{"name": name, "metrics": row.to_json()} for name, row in groups.shown.items()],
        "groups_left_out": groups.omitted if groups else 0,
        "photos": [
            {
                "path": image.name,
                "sha256": image.digest.hex(),
                "label": image.label,
                "predicted": [labels[file.predicted[index]] for file in predictions],
                "score": [float(file.scores[index]) for file in predictions],
            }
            for index, image in enumerate(evaluation.images)
        ],
        "unreadable": [{"path": name, "error": error} for name, error in evaluation.unreadable],
        "gate": gate,
    }


def _file_to_json(file: FileResult) -> dict[str, Any]:
    metrics, classes = file.metrics, file.metrics.classification.classes
    return {
        "file": file.name,
        "model": file.digest,
        "bytes": file.size,
        "precision": file.precision,
        "provider": file.provider,
        "metrics": metrics.classification.to_json(),
        "not_claimable": [row.label for row in classes if row.support < MIN_SUPPORT],
        "one_group_classes": metrics.classification.one_group_classes,
        "training_split": file.training_split,
        "epoch_chosen_on_these": file.training_split == "valid" and file.epoch_chosen,
        "calibration": metrics.reliability.to_json(),
        "threshold": metrics.at_threshold.threshold,
        "coverage": metrics.at_threshold.coverage,
        "answered_accuracy": metrics.at_threshold.accuracy,
        "curve": metrics.curve,
        "confusions": [asdict(confusion) for confusion in metrics.confusions],
        "against_first": file.comparison and asdict(file.comparison),
        "unknown_classes": [
            {
                "label": row.label,
                "photos": row.images,
                "called_unknown": row.below_threshold,
                "taken_for": row.top_prediction,
            }
            for row in file.unknown_classes
        ],
    }


@dataclass(frozen=True)
class Baseline:
    """Evaluated file, classes, and predicted labels by the SHA-256 of the image file."""

    file: str
    labels: tuple[str, ...]
    predicted: Mapping[bytes, str]


def read_baseline(path: Path) -> Baseline:
    """Read the output of `boats-evaluate --json`.

    Raises:
        DataError: If the file cannot be read, has other content, or a newer schema.
    """
    try:
        content = json.loads(path.read_bytes())
        version = content["schema_version"]
        if version != SCHEMA_VERSION:
            raise DataError(f"{path}: has schema {version}; this version reads {SCHEMA_VERSION}")
        labels = tuple(map(_require_text, content["labels"]))
        predicted = {
            bytes.fromhex(image["sha256"]): _require_text(image["predicted"][0])
            for image in content["photos"]
        }
        file = _require_text(content["files"][0]["file"])
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: is not a result of boats-evaluate; create one with "
            "boats-evaluate FILE DIR --json > baseline.json"
        ) from error
    if not set(predicted.values()) <= set(labels):
        raise DataError(f"{path}: has predictions that are not in its labels; create it again")
    return Baseline(file, labels, predicted)


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
