"""The proof: the exported file against PyTorch and scikit-learn, on real photos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError, DataError, ImageError
from boats_runtime.preprocess import SUFFIXES, decode
from boats_train.progress import track
from boats_train.run import Run

BATCHES = (1, 2, 7)
"""Batch sizes of the proof, in turn: exporters have got single batches right and others wrong."""

TOLERANCE = 1e-4
"""Largest difference of a probability that is let through."""


@dataclass(frozen=True)
class Parity:
    """How the exported file compares with the run.

    Attributes:
        photos: How many were compared.
        labels_equal: On how many both give the same label.
        largest_difference: Of a probability, over all photos and classes.
    """

    photos: int
    labels_equal: int
    largest_difference: float


def find_photos(run: Run, data: Path | None) -> list[Path]:
    """Finds the photos to compare on: the `valid` split of the run's picture set.

    Args:
        run: Knows where its data was.
        data: Where it is now, if it moved.

    Raises:
        DataError: There are none.
    """
    folder = (data or Path(run.config.data)) / "valid"
    photos = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES)
    if not photos:
        raise DataError(f"{folder}: no photos to verify the export on; give --data DIR")
    return photos


def compare(model: Path, run: Run, photos: Sequence[Path]) -> Parity:
    """Runs the exported file and the run on the same photos, in batches of 1, 2 and 7.

    Args:
        model: The exported file; it runs on the CPU.
        run: What it was exported from; PyTorch runs in float32 on the CPU.
        photos: Those that can't be decoded are passed over.

    Raises:
        DataError: None of the photos can be decoded.
    """
    classifier = Classifier(model, "cpu")
    names = classifier.metadata.labels
    count = equal = 0
    largest = 0.0
    with torch.inference_mode():
        for pixels in track(_batches(run, photos), "verify", total=len(photos), step=3):
            features = run.network(torch.from_numpy(pixels)).numpy()
            expected = run.estimator.predict_proba(features)
            probabilities, labels = classifier.run(pixels)
            pairs = zip(labels, run.estimator.predict(features), strict=True)
            equal += sum(names[mine] == run.classes[its] for mine, its in pairs)
            # NumPy's maximum keeps a NaN, Python's max would drop it.
            difference = np.max(np.abs(probabilities - expected))
            largest = float(np.maximum(largest, difference))
            count += len(pixels)
    if not count:
        raise DataError(f"none of the {len(photos)} photos to verify the export on can be read")
    return Parity(count, equal, largest)


def require_parity(parity: Parity) -> None:
    """Lets an export through only if it does what the run does.

    Raises:
        CheckError: A label differs, or a probability by more than the tolerance.
    """
    # Written so that a NaN is a breach too.
    same = parity.labels_equal == parity.photos and parity.largest_difference <= TOLERANCE
    if not same:
        raise CheckError(
            f"the exported file differs from the run: {parity.photos - parity.labels_equal} of "
            f"{parity.photos} labels, probabilities by up to {parity.largest_difference:.1e} "
            f"(allowed {TOLERANCE:.0e}); no file was written"
        )


def _batches(run: Run, photos: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Yields `(N, H, W, 3) uint8` with N in turn 1, 2 and 7; the last may be smaller."""
    sizes = cycle(BATCHES)
    size = next(sizes)
    batch: list[NDArray[np.uint8]] = []
    for path in photos:
        try:
            batch.append(run.preprocessing.apply(decode(path)))
        except ImageError:
            continue  # training has named it
        if len(batch) == size:
            yield np.stack(batch)
            batch, size = [], next(sizes)
    if batch:
        yield np.stack(batch)
