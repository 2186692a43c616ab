"""What was measured, for programs; a later call reads it as its baseline (`--gate`).

The schema of `--json`; its version rises when a key changes its meaning. Shares are 0 to 1,
intervals are 95 % `[low, high]`, null stands where nothing could be measured.

    schema_version      1
    folder              that was judged on, as given
    labels              the classes that the files know
    files               of each file, the judged one first:
        file                 as given
        model                the digest of the file, as `boats-export inspect` prints it
        bytes, precision     its size, and `fp32`, `fp16` or `int8`
        provider             that ran it
        metrics              `accuracy`, `balanced_accuracy` and `macro_f1`, each with its
                             `_interval`; `photos`; `classes`: of each its `label`, `precision`,
                             `recall`, `f1` and `support`
        not_claimable        classes with fewer than 5 photos
        calibration          `error`, the expected calibration error, and `bins`: of each `low`,
                             `photos`, mean `score` and `accuracy`
        threshold            scores under it are called unknown
        coverage             share of the photos that is answered at the threshold
        answered_accuracy    share of the answered ones that is right
        curve                the same at each hundredth: threshold, coverage, accuracy
        confusions           `label` taken for `predicted`: `count`, of `support` photos
        against_first        of the others: photos `lost` and `won`, McNemar's `p_two_sided` and
                             `p_worse`, and differences with intervals; null for the first
        unknown_classes      of each class that the files don't know: `label`, `photos`,
                             `called_unknown`, and `taken_for`: the most frequent label
    groups              `name` and `metrics` of each group of photos, of the first file; null
                        without groups
    groups_left_out     smaller groups that were not measured
    photos              of each photo of a known class: `path` in the folder, `sha256` of its file,
                        true `label`, and `predicted` and `score` of each file, in the files' order
    unreadable          `path` and `error` of each photo that could not be read
    gate                what `--gate` found, see `boats_evaluate.gate`; null without it
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from boats_evaluate.evaluation import Evaluation, FileResult
from boats_evaluate.file_metrics import CLAIMABLE
from boats_runtime.errors import DataError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Strangers:
    """Photos of a class that a file doesn't know.

    Attributes:
        label: The class.
        photos: How many there are.
        called_unknown: How many of them the file calls unknown, as it should.
        taken_for: The label it gives most of them.
    """

    label: str
    photos: int
    called_unknown: int
    taken_for: str


def find_strangers(evaluation: Evaluation, file: FileResult) -> Iterator[Strangers]:
    """Yields what a file makes of each class that it doesn't know."""
    answers = file.stranger_answers
    for label in sorted({photo.label for photo in evaluation.strangers}):
        places = [n for n, photo in enumerate(evaluation.strangers) if photo.label == label]
        unknown = int((answers.scores[places] < file.threshold).sum())
        ((taken, _),) = Counter(answers.predicted[places].tolist()).most_common(1)
        yield Strangers(label, len(places), unknown, evaluation.labels[taken])


def to_json(evaluation: Evaluation, gate: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns what was measured in the schema above."""
    labels, groups = evaluation.labels, evaluation.groups
    predicted = [file.answers.predicted.tolist() for file in evaluation.files]
    scores = [file.answers.scores.tolist() for file in evaluation.files]
    photos = zip(evaluation.photos, evaluation.digests, strict=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "folder": str(evaluation.folder),
        "labels": list(labels),
        "files": [_file(evaluation, file) for file in evaluation.files],
        "groups": groups
        and [{"name": group.name, "metrics": group.metrics.to_json()} for group in groups.shown],
        "groups_left_out": groups.left_out if groups else 0,
        "photos": [
            {
                "path": photo.name,
                "sha256": digest.hex(),
                "label": photo.label,
                "predicted": [labels[column[place]] for column in predicted],
                "score": [column[place] for column in scores],
            }
            for place, (photo, digest) in enumerate(photos)
        ],
        "unreadable": [{"path": name, "error": error} for name, error in evaluation.unreadable],
        "gate": gate,
    }


def _file(evaluation: Evaluation, file: FileResult) -> dict[str, Any]:
    measures = file.measures
    threshold, coverage, accuracy = measures.point
    against = None
    if file.pairing and file.change:
        against = asdict(file.pairing) | asdict(file.change)
    return {
        "file": file.name,
        "model": file.digest,
        "bytes": file.size,
        "precision": file.precision,
        "provider": file.provider,
        "metrics": measures.metrics.to_json(),
        "not_claimable": [row.label for row in measures.metrics.classes if row.support < CLAIMABLE],
        "calibration": measures.reliability.to_json(),
        "threshold": threshold,
        "coverage": coverage,
        "answered_accuracy": accuracy,
        "curve": measures.curve,
        "confusions": [asdict(one) for one in measures.confusions],
        "against_first": against,
        "unknown_classes": [asdict(one) for one in find_strangers(evaluation, file)],
    }


@dataclass(frozen=True)
class Baseline:
    """An earlier result to hold a file against.

    Attributes:
        file: The file that was judged then.
        labels: The classes that it knows.
        predicted: Of each photo, by the SHA-256 of its file, the label that it got.
    """

    file: str
    labels: tuple[str, ...]
    predicted: Mapping[bytes, str]


def read_baseline(path: Path) -> Baseline:
    """Reads what `--json` printed.

    Raises:
        DataError: The file is missing, is something else, or of a newer schema.
    """
    try:
        content = json.loads(path.read_bytes())
        version = content["schema_version"]
        if version != SCHEMA_VERSION:
            raise DataError(f"{path}: of schema {version}, this boats reads {SCHEMA_VERSION}")
        labels = tuple(map(_text, content["labels"]))
        predicted = {
            bytes.fromhex(photo["sha256"]): _text(photo["predicted"][0])
            for photo in content["photos"]
        }
        file = _text(content["files"][0]["file"])
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: no result of boats-evaluate: make one with "
            "boats-evaluate FILE DIR --json > baseline.json"
        ) from error
    if not set(predicted.values()) <= set(labels):
        raise DataError(f"{path}: has predictions that are none of its labels: make it again")
    return Baseline(file, labels, predicted)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
