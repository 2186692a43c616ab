"""Predictions of several models on the same images, each of which is read once."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """Readable images with the predictions of each model, and unreadable images.

    Attributes:
        images: N readable images.
        digests: SHA-256 of the file of each readable image.
        predictions: Predictions of each model for the readable images.
        unreadable: Names of the other images, each with an error message.
    """

    images: tuple[LabeledImage, ...]
    digests: tuple[bytes, ...]
    predictions: tuple[Predictions, ...]
    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _DecodedImage:
    """An image file as input for each preprocessing, or an error message."""

    image: LabeledImage
    digest: bytes = b""
    inputs: Mapping[Preprocessing, NDArray[np.uint8]] = field(default_factory=dict)
    error: str = ""


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
    """Run every model on every image.

    Args:
        classifiers: Models with the same labels, in any order.
        images: Images to classify.

    Raises:
        DataError: If no image can be read.
    """
    labels = classifiers[0].metadata.labels
    orders = [
        np.array([labels.index(label) for label in classifier.metadata.labels])
        for classifier in classifiers
    ]
    readable: list[tuple[LabeledImage, bytes]] = []
    unreadable: list[tuple[str, str]] = []
    batches: list[list[Predictions]] = [[] for _ in classifiers]
    batch_size = max(classifier.batch for classifier in classifiers)
    # Decode the next batch while the current one runs.
    decoded = prefetch(partial(_decode, classifiers), images, 2 * batch_size)
    stream = track(decoded, "images", len(images))
    while items := list(islice(stream, batch_size)):
        unreadable.extend((item.image.name, item.error) for item in items if item.error)
        batch = [item for item in items if not item.error]
        if not batch:
            continue
        readable.extend((item.image, item.digest) for item in batch)
        for classifier, order, results in zip(classifiers, orders, batches, strict=True):
            preprocessing = classifier.metadata.preprocessing
            pixels = np.stack([item.inputs[preprocessing] for item in batch])
            probabilities, indices = classifier.run(pixels)
            scores = np.take_along_axis(probabilities, indices[:, np.newaxis], axis=1)[:, 0]
            results.append(Predictions(order[indices], scores.astype(np.float64)))
    if not readable:
        name, error = unreadable[0]
        raise DataError(f"none of the {len(images)} images can be read; {name}: {error}")
    return PredictedImages(
        images=tuple(image for image, _ in readable),
        digests=tuple(digest for _, digest in readable),
        predictions=tuple(_concatenate(results) for results in batches),
        unreadable=tuple(unreadable),
    )


def _decode(classifiers: Sequence[Classifier], image: LabeledImage) -> _DecodedImage:
    inputs: dict[Preprocessing, NDArray[np.uint8]] = {}
    try:
        content = image.path.read_bytes()
        for classifier in classifiers:
            if classifier.metadata.preprocessing not in inputs:
                inputs[classifier.metadata.preprocessing] = classifier.prepare(content)
    except ImageError as error:
        return _DecodedImage(image, error=str(error))
    except OSError as error:
        return _DecodedImage(image, error=f"cannot be read: {error.strerror}")
    return _DecodedImage(image, hashlib.sha256(content).digest(), inputs)


def _concatenate(batches: Sequence[Predictions]) -> Predictions:
    return Predictions(
        np.concatenate([batch.predicted for batch in batches]),
        np.concatenate([batch.scores for batch in batches]),
    )
