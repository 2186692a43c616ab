"""Read every image of a dataset once: digest, format, size, perceptual hash, or decoding error."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from boats_data.check.perceptual_hash import compute_hash
from boats_data.dataset import Dataset
from boats_runtime.decoding import apply_orientation, decode
from boats_runtime.errors import ImageError
from boats_runtime.progress import track
from boats_runtime.regular_files import read_regular


@dataclass(frozen=True)
class ScannedImage:
    """An image of a dataset, before or after it was read.

    Attributes:
        name: `split/class/file`.
        split: Name of its split.
        label: Name of its class.
        digest: SHA-256 of the file; empty if it was not read.
        error: Reason why it cannot be decoded, or empty. The other attributes are then defaults.
        format: Format in Pillow's notation, such as `JPEG`.
        mode: Mode in Pillow's notation, such as `RGB` or `L` (gray).
        width: Number of columns after EXIF orientation.
        height: Number of rows after EXIF orientation.
        hash: Perceptual hash `(512,) bool`.
    """

    name: str
    split: str
    label: str
    digest: str = ""
    error: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    hash: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))

    @property
    def file_name(self) -> str:
        """The last part of the name."""
        return PurePosixPath(self.name).name


def list_images(dataset: Dataset) -> list[ScannedImage]:
    """List the images of a dataset in its order, without opening them."""
    return [
        ScannedImage(path.relative_to(dataset.root).as_posix(), split, dataset.classes[target])
        for split, images in dataset.splits.items()
        for path, target in zip(images.paths, images.targets.tolist(), strict=True)
    ]


def scan_images(dataset: Dataset) -> list[ScannedImage]:
    """Read and decode every image in threads, in the order of the dataset."""
    images = list_images(dataset)
    pool = ThreadPoolExecutor(thread_name_prefix="decode")
    try:
        results = pool.map(lambda image: _scan(dataset.root / image.name, image), images)
        return list(track(results, "images checked", total=len(images)))
    finally:
        pool.shutdown(cancel_futures=True)


def _scan(path: Path, image: ScannedImage) -> ScannedImage:
    try:
        content = read_regular(path)
    except OSError as error:
        return replace(image, error=f"cannot be read: {error.strerror or error}")
    image = replace(image, digest=hashlib.sha256(content).hexdigest())
    try:
        decoded = decode(content)
        width, height = apply_orientation(decoded).size
        return replace(
            image,
            format=decoded.format or "?",
            mode=decoded.mode,
            width=width,
            height=height,
            hash=compute_hash(decoded),
        )
    except ImageError as error:
        return replace(image, error=str(error))
