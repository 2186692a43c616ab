"""Predictions of several models on the same images, each of which is read once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.labeled_images import LabeledImage
from boats_runtime.classifier import Classifier
from boats_runtime.errors import DataError, ImageError, UsageError
from boats_runtime.prefetch import prefetch
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.progress import track
from boats_runtime.regular_files import read_regular

Inputs = Mapping[Preprocessing, NDArray[np.uint8]]
"""Pixels of one image for each preprocessing."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for N images.

    Attributes:
        predicted: (N,) int64, class indices in the label order of the first model.
        scores: (N,) float64, probabilities of the predicted classes, 0 to 1.
    """

    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]

    def select(self, mask: NDArray[np.bool_]) -> "Predictions":
        """Return the predictions where the mask, (N,) bool, is true."""
        return Predictions(self.predicted[mask], self.scores[mask])


@dataclass(frozen=True)
class PredictedImages:
    """Readable images, the predictions of each model for them, and unreadable images.

    Attributes:
        images: Readable images with their digests.
        predictions: Predictions of each model for the readable images.
        unreadable: Names of the other images, each with an error message.
    """

    images: tuple[LabeledImage, ...]
    predictions: tuple[Predictions, ...]
    unreadable: tuple[tuple[str, str], ...]


def open_classifiers(paths: Sequence[Path], provider: str) -> list[Classifier]:
    """Open models that have the same labels, in any order.

    Raises:
        ModelError: If a file is not a usable model.
        ProviderError: If the provider is not available or cannot run a model.
        UsageError: If two models have different labels.
    """
    classifiers = [Classifier(path, provider) for path in paths]
    expected = set(classifiers[0].metadata.labels)
    for path, classifier in zip(paths, classifiers, strict=True):
        if mismatch := sorted(expected ^ set(classifier.metadata.labels)):
            raise UsageError(
                f"{path}: labels differ from those of {paths[0]}: {', '.join(mismatch[:3])}"
                f"{'...' if mismatch[3:] else ''} in only one of them"
            )
    return classifiers


def predict_all(
    classifiers: Sequence[Classifier], images: Sequence[LabeledImage]
) -> PredictedImages:
    """Run models with the same labels, in any order, on every image.

    Raises:
        DataError: If no image can be read.
    """
    labels = classifiers[0].metadata.labels
    orders = [
        np.array([labels.index(label) for label in classifier.metadata.labels])
        for classifier in classifiers
    ]
    readable: list[LabeledImage] = []
    unreadable: list[tuple[str, str]] = []
    predicted: list[list[NDArray[np.int64]]] = [[] for _ in classifiers]
    scores: list[list[NDArray[np.float64]]] = [[] for _ in classifiers]
    batch_size = max(classifier.batch for classifier in classifiers)
    # Decode the next batch while the current one runs.
    decoded = prefetch(partial(_decode, classifiers), images, 2 * batch_size)

    def read() -> Iterator[Inputs]:
        for image, result in zip(images, track(decoded, "images", len(images)), strict=True):
            if isinstance(result, str):
                unreadable.append((image.name, result))
            else:
                digest, inputs = result
                readable.append(replace(image, digest=digest))
                yield inputs

    stream = read()
    while batch := list(islice(stream, batch_size)):
        for position, classifier in enumerate(classifiers):
            pixels = np.stack([inputs[classifier.metadata.preprocessing] for inputs in batch])
            probabilities, indices = classifier.run(pixels)
            predicted[position].append(orders[position][indices])
            scores[position].append(
                probabilities[np.arange(len(batch)), indices].astype(np.float64)
            )
    if not readable:
        name, error = unreadable[0]
        raise DataError(f"none of the {len(images)} images can be read; {name}: {error}")
    predictions = tuple(
        Predictions(np.concatenate(indices), np.concatenate(values))
        for indices, values in zip(predicted, scores, strict=True)
    )
    return PredictedImages(tuple(readable), predictions, tuple(unreadable))


def _decode(classifiers: Sequence[Classifier], image: LabeledImage) -> tuple[bytes, Inputs] | str:
    """Return the digest of the file and the inputs of the models, or an error message."""
    inputs: dict[Preprocessing, NDArray[np.uint8]] = {}
    try:
        content = read_regular(image.path)
        for classifier in classifiers:
            if classifier.metadata.preprocessing not in inputs:
                inputs[classifier.metadata.preprocessing] = classifier.prepare(content)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return hashlib.sha256(content).digest(), inputs
