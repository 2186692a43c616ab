"""Every file asked about every photo: each photo is read once, and decoded once for each size."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.labeled_images import Photo
from boats_runtime.classifier import Classifier
from boats_runtime.errors import DataError, ImageError, UsageError
from boats_runtime.prefetch import prefetch
from boats_runtime.progress import track

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Answers:
    """What one file said of N photos.

    Attributes:
        predicted: Class indices `(N,) int64`, the file's own labels.
        scores: The probabilities of those classes `(N,) float64`, 0 to 1.
    """

    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]

    def of(self, chosen: NDArray[np.bool_]) -> "Answers":
        """Returns those of the chosen photos, `(N,) bool`."""
        return Answers(self.predicted[chosen], self.scores[chosen])


@dataclass(frozen=True)
class Judged:
    """What the files said.

    Attributes:
        photos: Those that could be read, N of them.
        digests: The SHA-256 of each one's file.
        answers: Of each file, in the files' order.
        unreadable: Names of the other photos, and why each can't be read.
    """

    photos: tuple[Photo, ...]
    digests: tuple[bytes, ...]
    answers: tuple[Answers, ...]
    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Ready:
    """A photo decoded: its digest, and the input of each file; or why there is none."""

    photo: Photo
    digest: bytes = b""
    inputs: tuple[Pixels, ...] = ()
    error: str = ""


def open_files(paths: Sequence[Path], provider: str) -> list[Classifier]:
    """Opens files that are to be judged side by side.

    Raises:
        ModelError: One can't be used.
        ProviderError: The provider is not there or does not run one.
        UsageError: Two have different labels; says which.
    """
    classifiers: list[Classifier] = []
    for path in paths:
        classifier = Classifier(path, provider)
        first = classifiers[0].metadata.labels if classifiers else classifier.metadata.labels
        mine = classifier.metadata.labels
        if set(mine) != set(first):
            differing = sorted(set(mine) ^ set(first))
            raise UsageError(
                f"{path}: has other labels than {paths[0]}: {', '.join(differing[:3])}"
                f"{'...' if differing[3:] else ''} only in one of them"
            )
        classifiers.append(classifier)
    return classifiers


def judge(classifiers: Sequence[Classifier], photos: Sequence[Photo]) -> Judged:
    """Asks every file about every photo, reading a few photos ahead.

    Args:
        classifiers: The files, with the same labels, perhaps in another order; the first one's
            order counts.
        photos: To be asked about.

    Raises:
        DataError: No photo can be read.
    """
    kept: list[_Ready] = []
    unreadable: list[tuple[str, str]] = []
    parts: list[list[Answers]] = [[] for _ in classifiers]

    batch = max(classifier.batch for classifier in classifiers)

    def readable() -> Iterator[_Ready]:
        # Twice a batch: while one runs, the next one fills.
        found = prefetch(lambda photo: _prepare(classifiers, photo), photos, 2 * batch)
        for ready in track(found, "photos"):
            if ready.error:
                unreadable.append((ready.photo.name, ready.error))
            else:
                yield ready

    orders = [_order(classifiers[0], classifier) for classifier in classifiers]
    stream = readable()
    while group := list(islice(stream, batch)):
        for place, classifier in enumerate(classifiers):
            pixels = np.stack([ready.inputs[place] for ready in group])
            parts[place].append(_ask(classifier, pixels, orders[place]))
        # Without the pixels: memory stays flat.
        kept.extend(_Ready(ready.photo, ready.digest) for ready in group)
    if not kept:
        name, error = unreadable[0]
        raise DataError(f"none of the {len(photos)} photos can be read; {name}: {error}")
    return Judged(
        tuple(ready.photo for ready in kept),
        tuple(ready.digest for ready in kept),
        tuple(_join(part) for part in parts),
        tuple(unreadable),
    )


def _prepare(classifiers: Sequence[Classifier], photo: Photo) -> _Ready:
    try:
        content = photo.path.read_bytes()
        made = {}
        for classifier in classifiers:
            wanted = classifier.metadata.preprocessing
            if wanted not in made:
                made[wanted] = classifier.prepare(content)
    except ImageError as error:
        return _Ready(photo, error=str(error))
    except OSError as error:
        return _Ready(photo, error=f"can't be read: {error.strerror}")
    inputs = tuple(made[classifier.metadata.preprocessing] for classifier in classifiers)
    return _Ready(photo, hashlib.sha256(content).digest(), inputs)


def _order(first: Classifier, other: Classifier) -> NDArray[np.int64]:
    """Returns for each label of `other` its index in `first`."""
    places = {label: index for index, label in enumerate(first.metadata.labels)}
    return np.array([places[label] for label in other.metadata.labels], dtype=np.int64)


def _ask(classifier: Classifier, pixels: Pixels, order: NDArray[np.int64]) -> Answers:
    probabilities, labels = classifier.run(pixels)
    scores = np.take_along_axis(probabilities, labels[:, np.newaxis], axis=1)[:, 0]
    return Answers(order[labels], scores.astype(np.float64))


def _join(parts: Sequence[Answers]) -> Answers:
    return Answers(
        np.concatenate([part.predicted for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
