"""Read every image of a dataset once: digest, format, size, perceptual hash, or decoding error."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from boats_data.check.perceptual_hash import compute_hash
from boats_data.dataset import Dataset
from boats_runtime.errors import ImageError
from boats_runtime.preprocessing import apply_orientation, decode
from boats_runtime.progress import track


@dataclass(frozen=True)
class ImageProperties:
    """Properties of a decoded image.

    Attributes:
        format: Format in Pillow's notation, such as `JPEG`.
        mode: Mode in Pillow's notation, such as `RGB` or `L` (gray).
        width: Number of columns after EXIF orientation.
        height: Number of rows after EXIF orientation.
        hash: Perceptual hash `(512,) bool`.
    """

    format: str
    mode: str
    width: int
    height: int
    hash: NDArray[np.bool_]


@dataclass(frozen=True)
class ScannedImage:
    """An image of a dataset, before or after it was read.

    Attributes:
        name: `split/class/file`.
        split: Name of its split.
        label: Name of its class.
        digest: SHA-256 of the file; empty if it was not read.
        properties: Properties of the decoded image; None if it was not decoded.
        error: Reason why it cannot be decoded, or empty.
    """

    name: str
    split: str
    label: str
    digest: str = ""
    properties: ImageProperties | None = None
    error: str = ""

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


def find_unused_files(dataset: Dataset) -> Iterator[str]:
    """Yield the names of the files under the splits that training ignores, except hidden ones."""
    used = {path for images in dataset.splits.values() for path in images.paths}
    for split in dataset.splits:
        for path in sorted((dataset.root / split).rglob("*")):
            name = path.relative_to(dataset.root)
            hidden = any(part.startswith(".") for part in name.parts)
            if path not in used and not hidden and path.is_file():
                yield name.as_posix()


def _scan(path: Path, image: ScannedImage) -> ScannedImage:
    try:
        content = path.read_bytes()
    except OSError as error:
        return replace(image, error=f"cannot be read: {error.strerror or error}")
    image = replace(image, digest=hashlib.sha256(content).hexdigest())
    try:
        decoded = decode(content)
        width, height = apply_orientation(decoded).size
        properties = ImageProperties(
            decoded.format or "?", decoded.mode, width, height, compute_hash(decoded)
        )
    except ImageError as error:
        return replace(image, error=str(error))
    return replace(image, properties=properties)
