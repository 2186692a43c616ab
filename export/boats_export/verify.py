"""The proof: the exported file against the network and the classifier it was made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from boats_export.verification_images import HARD, Photos, Pixels
from boats_runtime.classifier import INPUT, OUTPUTS, Classifier
from boats_runtime.cpu import granted_cpus
from boats_runtime.errors import CheckError
from boats_runtime.progress import track
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run

BATCHES = (1, 2, 7)
"""Batch sizes of the proof, in turn: exporters have got single batches right and others wrong."""

TOLERANCE = 1e-4
"""Largest difference of a probability that is let through."""

EDGE = 1e-4
"""A pairwise decision this near to zero may fall either way in float32, and its vote with it."""

MAX_UNDECIDED = 0.01
"""Largest share of photos with a vote on the edge that is let through."""


@dataclass(frozen=True)
class Expected:
    """What a network and a classifier say of the photos, and then of the hard ones.

    Attributes:
        features: `(N, D) float32`.
        probabilities: `(N, K) float64`.
        labels: Class indices `(N,) int64`.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Outputs:
    """What an exported file says of the same photos.

    Attributes:
        names: The class names in the file.
        probabilities: `(N, K) float32`.
        labels: Indices into the names `(N,) int64`.
    """

    names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Parity:
    """How the exported file compares with what was expected of it.

    Attributes:
        photos: How many were compared, without the hard ones.
        hard_photos: How many hard ones were.
        labels_equal: On how many of all both give the same label.
        largest_difference: Of a probability, over all of them; those undecided left out.
        undecided: On how many they differ because a vote between two classes was a tie.
    """

    photos: int
    hard_photos: int
    labels_equal: int
    largest_difference: float
    undecided: int


def torch_features(run: Run, photos: Photos) -> NDArray[np.float32]:
    """Runs the run's own network in float32 on the CPU over the photos and the hard ones."""
    pixels = track(photos.with_hard(), "PyTorch", len(photos) + len(HARD))
    with torch.inference_mode():
        return np.stack([run.network(torch.tensor(one[np.newaxis])).numpy()[0] for one in pixels])


def session_features(network: bytes, photos: Iterable[Pixels]) -> NDArray[np.float32]:
    """Runs a feature network in ONNX Runtime on the CPU, photo by photo: `(N, D) float32`."""
    session = open_cpu(network)
    return np.stack([session.run(None, {INPUT: pixels[np.newaxis]})[0][0] for pixels in photos])


def open_cpu(model: bytes) -> Any:
    """Opens a model that is being made on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = granted_cpus()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def expect(run: Run, features: NDArray[np.float32]) -> Expected:
    """Asks the run's classifier, in scikit-learn's float64, about features."""
    probabilities = np.asarray(run.estimator.predict_proba(features), dtype=np.float64)
    return Expected(features, probabilities, np.asarray(run.estimator.predict(features)))


def run_file(model: Path, photos: Photos) -> Outputs:
    """Runs an exported file on the CPU, in batches of 1, 2 and 7, over photos and hard ones.

    The photos are preprocessed as the file itself says.
    """
    classifier = Classifier(model, "cpu")
    photos = replace(photos, preprocessing=classifier.metadata.preprocessing)
    pixels = track(photos.with_hard(), "the file", len(photos) + len(HARD))
    answers = [classifier.run(batch) for batch in _batches(pixels)]
    probabilities, labels = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    return Outputs(classifier.metadata.labels, probabilities, labels)


def run_head(head: bytes, features: NDArray[np.float32], names: tuple[str, ...]) -> Outputs:
    """Runs a classifier's graph alone, on ready features."""
    probabilities, labels = open_cpu(head).run(list(OUTPUTS), {"features": features})
    return Outputs(names, probabilities, labels)


def compare(run: Run, expected: Expected, outputs: Outputs) -> Parity:
    """Compares a file with what was expected of it.

    Photos on which a vote between two classes was a tie within `EDGE` are counted apart where they
    differ: which way it falls is decided by rounding, in either implementation.
    """
    pairs = zip(outputs.labels, expected.labels, strict=True)
    equal = np.array([outputs.names[mine] == run.classes[its] for mine, its in pairs])
    differences = np.max(np.abs(outputs.probabilities - expected.probabilities), axis=1)
    # Written so that a NaN is a breach too.
    breaches = ~(equal & (differences <= TOLERANCE))
    undecided = np.zeros_like(breaches)
    if breaches.any() and isinstance(run.estimator, CalibratedSVC) and len(run.classes) > 2:
        near = run.estimator.vote_margin(expected.features[breaches]) < EDGE
        undecided[np.flatnonzero(breaches)[near]] = True
        undecided &= np.isfinite(differences)
    return Parity(
        photos=len(equal) - len(HARD),
        hard_photos=len(HARD),
        labels_equal=int(equal.sum()),
        largest_difference=float(np.max(differences, where=~undecided, initial=0.0)),
        undecided=int(undecided.sum()),
    )


def require_parity(parity: Parity) -> None:
    """Lets an export through only if it does what it was made of does.

    Raises:
        CheckError: A label differs, or a probability by more than the tolerance, and no tie between
            two classes explains it.
    """
    total = parity.photos + parity.hard_photos
    # Written so that a NaN is a breach too.
    same = total - parity.labels_equal <= parity.undecided <= max(1, MAX_UNDECIDED * total)
    if not (same and parity.largest_difference <= TOLERANCE):
        raise CheckError(
            f"the exported file differs from the run: {total - parity.labels_equal} of "
            f"{total} labels, probabilities by up to {parity.largest_difference:.1e} "
            f"(allowed {TOLERANCE:.0e}); no file was written"
        )


def _batches(photos: Iterable[Pixels]) -> Iterator[Pixels]:
    """Yields `(N, H, W, 3) uint8` with N in turn 1, 2 and 7; the last may be smaller."""
    sizes = cycle(BATCHES)
    size = next(sizes)
    batch: list[Pixels] = []
    for pixels in photos:
        batch.append(pixels)
        if len(batch) == size:
            yield np.stack(batch)
            batch, size = [], next(sizes)
    if batch:
        yield np.stack(batch)
