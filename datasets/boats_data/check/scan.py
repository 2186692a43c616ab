"""Reads every photo of a picture set once: contents, size, mode, fingerprint, or why it fails."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.check.perceptual_hash import fingerprint
from boats_data.dataset import Dataset
from boats_runtime.errors import ImageError
from boats_runtime.preprocessing import decode, turn
from boats_runtime.progress import track


@dataclass(frozen=True)
class Image:
    """What a decoded photo is like.

    Attributes:
        format: As Pillow names it: `JPEG`, `PNG`, ...
        mode: As Pillow names it: `RGB`, `L` (grey), ...
        width: Columns, upright.
        height: Rows, upright.
        fingerprint: `(512,) bool`.
    """

    format: str
    mode: str
    width: int
    height: int
    fingerprint: NDArray[np.bool_]


@dataclass(frozen=True)
class Photo:
    """One photo of a picture set.

    Attributes:
        name: `split/class/file`.
        split: Its split.
        label: Its class.
        file: The file's own name.
        digest: SHA-256 of the file; empty where it can't be read.
        image: What it is like; None when it can't be decoded.
        error: Why it can't be.
    """

    name: str
    split: str
    label: str
    file: str
    digest: str = ""
    image: Image | None = None
    error: str = ""


def name_photos(dataset: Dataset) -> list[Photo]:
    """Lists the photos without opening them, in the data set's order."""
    return [
        Photo(path.relative_to(dataset.root).as_posix(), name, dataset.classes[target], path.name)
        for name, split in dataset.splits.items()
        for path, target in zip(split.paths, split.targets.tolist(), strict=True)
    ]


def survey_photos(dataset: Dataset) -> list[Photo]:
    """Reads and decodes every photo, in threads, with a progress bar; in the data set's order."""
    todo = [(dataset.root / photo.name, photo) for photo in name_photos(dataset)]
    pool = ThreadPoolExecutor(thread_name_prefix="decode")
    try:
        return list(track(pool.map(_read, todo), "check", total=len(todo)))
    finally:
        pool.shutdown(cancel_futures=True)


def find_ignored(dataset: Dataset) -> list[str]:
    """Lists the files under the splits that training passes over, hidden ones aside."""
    used = {path for split in dataset.splits.values() for path in split.paths}
    ignored = []
    for split in dataset.splits:
        for path in sorted((dataset.root / split).rglob("*")):
            name = path.relative_to(dataset.root)
            hidden = any(part.startswith(".") for part in name.parts)
            if path not in used and not hidden and path.is_file():
                ignored.append(name.as_posix())
    return ignored


def _read(item: tuple[Path, Photo]) -> Photo:
    path, photo = item
    try:
        content = path.read_bytes()
    except OSError as error:
        return replace(photo, error=f"can't be read: {error.strerror or error}")
    digest = hashlib.sha256(content).hexdigest()
    try:
        image = _decode(content)
    except ImageError as error:
        return replace(photo, digest=digest, error=str(error))
    return replace(photo, digest=digest, image=image)


def _decode(content: bytes) -> Image:
    decoded = decode(content)
    width, height = turn(decoded).size
    return Image(decoded.format or "?", decoded.mode, width, height, fingerprint(decoded))
