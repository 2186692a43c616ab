"""From files and labelled photos to everything that is told about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.groups import find_groups
from boats_evaluate.file_metrics import Groups, Measures, measure_answers, measure_groups
from boats_evaluate.labeled_images import Photo, find_images
from boats_evaluate.predictions import Answers, Judged, judge
from boats_metrics.paired import McNemarResult, PairedDifference, bootstrap_difference, mcnemar_test
from boats_runtime.classifier import Classifier
from boats_runtime.errors import DataError


@dataclass(frozen=True)
class FileResult:
    """How one file did.

    Attributes:
        name: As it was given.
        size: In bytes.
        digest: Of the file, as `boats-export inspect` prints it.
        provider: That ran it.
        precision: `fp32`, `fp16` or `int8`; empty where the file doesn't say.
        threshold: Scores under it are called unknown, 0 to 1.
        answers: On the photos of known classes.
        measures: What was counted.
        stranger_answers: On the photos of unknown classes.
        pairing: Against the first file; None for itself.
        change: Against the first file; None for itself.
    """

    name: str
    size: int
    digest: str
    provider: str
    precision: str
    threshold: float
    answers: Answers
    measures: Measures
    stranger_answers: Answers
    pairing: McNemarResult | None = None
    change: PairedDifference | None = None


@dataclass(frozen=True)
class Evaluation:
    """What the files said of a folder of labelled photos.

    Attributes:
        folder: That was judged on.
        labels: The K classes that the files know.
        photos: Readable ones of those classes, N of them.
        digests: The SHA-256 of each one's file.
        targets: Their class indices `(N,) int64`.
        files: Each file's result; the first is the one that is judged.
        groups: Of the first file, by group of photos; None without groups.
        strangers: Readable photos of classes that the files don't know.
        unreadable: Names of the other photos, and why each can't be read.
    """

    folder: Path
    labels: tuple[str, ...]
    photos: tuple[Photo, ...]
    digests: tuple[bytes, ...]
    targets: NDArray[np.int64]
    files: tuple[FileResult, ...]
    groups: Groups | None
    strangers: tuple[Photo, ...]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def main(self) -> FileResult:
        """The file that is judged."""
        return self.files[0]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the judged file has each photo right `(N,) bool`."""
        return np.equal(self.main.answers.predicted, self.targets)


def evaluate(
    files: Sequence[tuple[Path, Classifier]],
    folder: Path,
    groups: str | None = None,
    threshold: float | None = None,
) -> Evaluation:
    """Judges files on a folder of labelled photos.

    Args:
        files: Each one's path and the open file; the first is judged, the others beside it.
        folder: Holds a folder of photos for each class.
        groups: As `boats_train.svm.folds.find_groups` takes it.
        threshold: Scores under it are called unknown, 0 to 1; None for each file's own.

    Raises:
        UsageError: The folder is a whole picture set, or the groups don't fit its file names.
        DataError: There are no photos to judge on.
    """
    classifiers = [classifier for _, classifier in files]
    labels = classifiers[0].metadata.labels
    found = find_images(folder, labels)
    # Groups that don't fit are told before the photos are judged.
    find_groups([photo.path for photo in found if photo.label in labels], groups)
    judged = judge(classifiers, found)
    known = np.array([photo.label in labels for photo in judged.photos])
    if not known.any():
        raise DataError(f"{folder}: no photo of a class that the model knows can be read")
    photos = tuple(photo for photo in judged.photos if photo.label in labels)
    targets = np.array([labels.index(photo.label) for photo in photos], dtype=np.int64)
    results: list[FileResult] = []
    for (path, classifier), answers in zip(files, judged.answers, strict=True):
        own = classifier.metadata.threshold or 0.0
        limit = own if threshold is None else threshold
        mine = answers.of(known)
        pairing, change = _pair(targets, results[0].answers, mine) if results else (None, None)
        proof = classifier.metadata.provenance.get("proof")
        result = FileResult(
            str(path),
            path.stat().st_size,
            classifier.metadata.digest,
            classifier.provider,
            str(proof.get("precision", "")) if isinstance(proof, dict) else "",
            limit,
            mine,
            measure_answers(targets, mine, labels, limit),
            answers.of(~known),
            pairing,
            change,
        )
        results.append(result)
    paths = [photo.path for photo in photos]
    return Evaluation(
        folder,
        labels,
        photos,
        _digests(judged, known),
        targets,
        tuple(results),
        measure_groups(paths, groups, targets, results[0].answers.predicted, labels),
        tuple(photo for photo in judged.photos if photo.label not in labels),
        judged.unreadable,
    )


def _digests(judged: Judged, known: NDArray[np.bool_]) -> tuple[bytes, ...]:
    pairs = zip(judged.digests, known, strict=True)
    return tuple(digest for digest, is_known in pairs if is_known)


def _pair(
    targets: NDArray[np.int64], first: Answers, second: Answers
) -> tuple[McNemarResult, PairedDifference]:
    pairing = mcnemar_test(first.predicted == targets, second.predicted == targets)
    return pairing, bootstrap_difference(targets, first.predicted, second.predicted)
