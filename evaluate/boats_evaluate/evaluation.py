"""Evaluation of one or more model files on a folder of labeled images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import digest_images
from boats_data.groups import find_groups
from boats_evaluate.file_metrics import (
    FileMetrics,
    Groups,
    UnknownClass,
    compute_file_metrics,
    compute_group_metrics,
    summarize_unknown_classes,
)
from boats_evaluate.labeled_images import LabeledImage, find_images
from boats_evaluate.notes import describe_split, find_training_split, is_epoch_chosen
from boats_evaluate.predictions import Predictions, predict_all
from boats_metrics.paired import PairedComparison, compare_paired
from boats_runtime.classifier import Classifier
from boats_runtime.errors import DataError

Reference = tuple[str, float]
"""Name and accuracy of another model on other images, shown for comparison."""


@dataclass(frozen=True)
class FileResult:
    """Results of one model file.

    Attributes:
        name: Path as given by the user.
        size: Size in bytes.
        digest: Digest of the model, as printed by `boats-export inspect`.
        provider: Provider that ran the model.
        precision: `fp32`, `fp16` or `int8`; empty if the file does not record it.
        predictions: Predictions for the images of known classes.
        metrics: Metrics of these predictions.
        unknown_classes: Predictions for images of classes that the model does not have.
        comparison: Comparison with the first file; None for the first file.
        training_split: Split of the training that has exactly these images; None if there is none.
        epoch_chosen: Whether the epoch was chosen by macro-F1 on the validation images.
    """

    name: str
    size: int
    digest: str
    provider: str
    precision: str
    predictions: Predictions
    metrics: FileMetrics
    unknown_classes: tuple[UnknownClass, ...] = ()
    comparison: PairedComparison | None = None
    training_split: str | None = None
    epoch_chosen: bool = False

    @property
    def split_note(self) -> str:
        """Phrase that says if the model was trained or chosen on these images, or empty."""
        return describe_split(self.training_split, epoch_chosen=self.epoch_chosen)


@dataclass(frozen=True)
class Evaluation:
    """Results of model files on a folder of labeled images.

    Attributes:
        folder: Folder of the images.
        labels: K class names of the models.
        images: N readable images of these classes, with their digests.
        targets: (N,) int64, true class indices.
        files: Results of each file; the first one is the evaluated file.
        groups: Metrics of the first file by group of images; None without groups.
        image_groups: (N,) int64, group of each image, 0 to G - 1; None without groups.
        unknown_images: Readable images of classes that the models do not have.
        unreadable: Names of the other images, each with an error message.
    """

    folder: Path
    labels: tuple[str, ...]
    images: tuple[LabeledImage, ...]
    targets: NDArray[np.int64]
    files: tuple[FileResult, ...]
    groups: Groups | None = None
    image_groups: NDArray[np.int64] | None = None
    unknown_images: tuple[LabeledImage, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def main(self) -> FileResult:
        """Results of the evaluated file."""
        return self.files[0]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) bool, whether each prediction of the evaluated file is correct."""
        return np.equal(self.main.predictions.predicted, self.targets)


def evaluate(
    files: Sequence[tuple[Path, Classifier]],
    folder: Path,
    groups: str | None = None,
    threshold: float | None = None,
) -> Evaluation:
    """Evaluate model files on a folder of labeled images.

    Args:
        files: Path and classifier of each file; the others are compared with the first one.
        folder: Folder with one subfolder per class.
        groups: Pattern of the group names, as in `boats_data.groups.find_groups`.
        threshold: Smallest score that is not reported as unknown, 0 to 1; None for the threshold
            stored in each file.

    Raises:
        UsageError: If the folder is a whole dataset, or the pattern does not match a file name.
        DataError: If no image of a known class can be read.
    """
    labels = files[0][1].metadata.labels
    found = find_images(folder, labels)
    # Report a wrong pattern before the predictions, which can take minutes.
    find_groups([image.path for image in found if image.label in labels], groups)
    result = predict_all([classifier for _, classifier in files], found)
    is_known = np.array([image.label in labels for image in result.images])
    if not is_known.any():
        raise DataError(f"{folder}: no image of a class of the model can be read")
    images = tuple(compress(result.images, is_known))
    unknown_images = tuple(compress(result.images, ~is_known))
    targets = np.array([labels.index(image.label) for image in images], dtype=np.int64)
    first = result.predictions[0].predicted[is_known]
    names = find_groups([image.path for image in images], groups)
    image_groups = None if names is None else np.unique(names, return_inverse=True)[1]
    digest = digest_images([image.digest for image in images], targets, labels)
    results: list[FileResult] = []
    for (path, classifier), predictions in zip(files, result.predictions, strict=True):
        metadata = classifier.metadata
        limit = (metadata.threshold or 0.0) if threshold is None else threshold
        known, unknown = predictions.select(is_known), predictions.select(~is_known)
        proof = metadata.provenance.get("proof")
        file = FileResult(
            name=str(path),
            size=path.stat().st_size,
            digest=metadata.digest,
            provider=classifier.provider,
            precision=str(proof.get("precision", "")) if isinstance(proof, dict) else "",
            predictions=known,
            metrics=compute_file_metrics(targets, known, labels, limit, image_groups),
            unknown_classes=summarize_unknown_classes(unknown_images, unknown, labels, limit),
            comparison=compare_paired(targets, first, known.predicted, groups=image_groups)
            if results
            else None,
            training_split=find_training_split(metadata.provenance, digest),
            epoch_chosen=is_epoch_chosen(metadata.provenance),
        )
        results.append(file)
    return Evaluation(
        folder=folder,
        labels=labels,
        images=images,
        targets=targets,
        files=tuple(results),
        groups=compute_group_metrics(
            [image.path for image in images], groups, targets, first, labels
        ),
        image_groups=image_groups,
        unknown_images=unknown_images,
        unreadable=result.unreadable,
    )
