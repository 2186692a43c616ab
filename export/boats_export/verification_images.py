"""Images that an export is verified on: labeled images of the dataset, and stress inputs."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import LabeledImages, digest_images, scan_split
from boats_runtime.errors import DataError, ImageError
from boats_runtime.prefetch import prefetch
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.progress import track
from boats_runtime.regular_files import read_regular
from boats_train.runs.run import Run

PREFETCH_DEPTH = 4
"""Images that are decoded ahead."""

STRESS_INPUTS = ("black", "white", "noise", "one pixel changed")
"""Inputs in which converters are likely to differ; they have no labels."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class VerificationImages:
    """Labeled images that can be decoded.

    Every iteration decodes them again, so that memory use does not grow with the dataset.

    Attributes:
        images: Paths and class indices.
        preprocessing: Preprocessing of the network's input.
        digest: Result of `digest_images`.
    """

    images: LabeledImages
    preprocessing: Preprocessing
    digest: str = ""

    def __iter__(self) -> Iterator[Pixels]:
        """Yield each image as (H, W, 3) uint8."""
        return prefetch(self.preprocessing.read, iter(self.images.paths), PREFETCH_DEPTH)

    def __len__(self) -> int:
        return len(self.images.paths)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> "VerificationImages":
        """Return a subset without a digest."""
        return replace(self, images=_select(self.images, indices), digest="")

    def with_stress_inputs(self, title: str) -> Iterator[Pixels]:
        """Yield each image and then the `STRESS_INPUTS`.

        Args:
            title: Title of the progress line.
        """
        return track(self._read_all(), title, len(self) + len(STRESS_INPUTS))

    def _read_all(self) -> Iterator[Pixels]:
        yield from self
        shape = (self.preprocessing.height, self.preprocessing.width, 3)
        yield np.zeros(shape, np.uint8)
        yield np.full(shape, 255, np.uint8)
        yield np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        changed = np.array(self.preprocessing.read(self.images.paths[0]))
        changed[shape[0] // 2, shape[1] // 2] ^= 255
        yield changed


def load_verification_images(run: Run, data: Path | None, split: str) -> VerificationImages:
    """Find the images of a split that can be decoded. Training has reported the others.

    Args:
        run: Run with the classes, and the dataset it was trained on.
        data: Dataset folder; None for the one of the run.
        split: `train` or `valid`.

    Raises:
        DataError: If no image can be decoded, or a class is not known to the run.
    """
    folder = (data or Path(run.config.data)) / split
    if not folder.is_dir():
        raise DataError(f"{folder}: no images to verify the export on; give --data DIR")
    images = scan_split(folder, run.classes)

    def digest(path: Path) -> bytes | None:
        try:
            content = read_regular(path)
            run.preprocessing.read(content)
        except (ImageError, OSError):
            return None
        return hashlib.sha256(content).digest()

    results = prefetch(digest, images.paths, PREFETCH_DEPTH)
    digests = list(track(results, f"decode {split}", len(images.paths)))
    readable = [index for index, result in enumerate(digests) if result is not None]
    if not readable:
        raise DataError(f"{folder}: none of its {len(digests)} images can be read")
    images = _select(images, readable)
    readable_digests = [result for result in digests if result is not None]
    return VerificationImages(
        images,
        run.preprocessing,
        digest_images(readable_digests, images.targets, run.classes),
    )


def _select(images: LabeledImages, indices: Sequence[int] | NDArray[np.int64]) -> LabeledImages:
    return LabeledImages(tuple(images.paths[index] for index in indices), images.targets[indices])
