"""A picture set on disk: `train/<class>/*.jpg`, `valid/...` and, when there, `test/...`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_runtime.errors import DataError
from boats_runtime.preprocessing import SUFFIXES

SPLITS = ("train", "valid", "test")
"""The splits' folder names; `test` may be missing."""


@dataclass(frozen=True)
class LabeledImages:
    """The photos of one split and their classes.

    Attributes:
        paths: The photos, N of them, class by class and sorted by name.
        targets: Class indices `(N,) int64`.
    """

    paths: tuple[Path, ...]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """A picture set.

    Attributes:
        root: Its folder.
        classes: The folder names of `train`, sorted, K of them.
        splits: `train`, `valid` and, when there, `test`.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, LabeledImages]


def scan_dataset(root: Path) -> Dataset:
    """Finds the photos of a picture set without opening them.

    Files that are not photos by name, and hidden files, are passed over.

    Raises:
        DataError: A folder is missing, a class is empty, there are fewer than two classes, or a
            split has a class that `train` lacks.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; give --data DIR with train/<class>/*.jpg and "
            "valid/<class>/*.jpg, or try --demo"
        )
    for name in ("train", "valid"):
        if not (root / name).is_dir():
            raise DataError(f"{root}: has no folder {name}/ with a folder of photos for each class")
    classes = tuple(folder.name for folder in _folders(root / "train"))
    if len(classes) < 2:
        found = f"only the class {classes[0]}" if classes else "no class folders"
        raise DataError(f"{root / 'train'}: {found}; at least two classes are needed")
    splits = {}
    for name in SPLITS:
        if (root / name).is_dir():
            splits[name] = scan_split(root / name, classes)
    for folder in (root / "train" / name for name in classes):
        if not _photos(folder):
            raise DataError(f"{folder}: an empty class; add photos or remove the folder")
    return Dataset(root, classes, splits)


def scan_split(folder: Path, classes: Sequence[str]) -> LabeledImages:
    """Finds the photos of one split without opening them.

    Args:
        folder: Holds a folder of photos for each class.
        classes: Their names, K of them; the targets are their indices.

    Raises:
        DataError: The folder is missing or empty, or has a class beyond those.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    unknown = [child.name for child in _folders(folder) if child.name not in classes]
    if unknown:
        raise DataError(
            f"{folder}: has classes that train lacks: {', '.join(unknown)}; "
            "add them to train or remove them here"
        )
    paths: list[Path] = []
    targets: list[int] = []
    for index, name in enumerate(classes):
        photos = _photos(folder / name)
        paths.extend(photos)
        targets.extend([index] * len(photos))
    if not paths:
        raise DataError(f"{folder}: no photos in it ({', '.join(sorted(SUFFIXES))})")
    return LabeledImages(tuple(paths), np.asarray(targets, dtype=np.int64))


def scan_classes(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Finds the photos of every class folder without opening them, both sorted by name.

    Empty ones are among them.

    Raises:
        DataError: The folder is missing or can't be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    try:
        return {child.name: tuple(_photos(child)) for child in _folders(folder)}
    except OSError as error:
        raise DataError(f"{error.filename}: can't be read: {error.strerror}") from error


def digest_images(
    digests: Sequence[bytes], targets: NDArray[np.int64], classes: Sequence[str]
) -> str:
    """Returns a SHA-256 of labelled photos that their names and their order don't change.

    Args:
        digests: The SHA-256 of each photo's file, N of them.
        targets: Class indices `(N,) int64`.
        classes: The class names.
    """
    photos = zip(digests, targets, strict=True)
    lines = sorted(f"{digest.hex()} {classes[target]}\n" for digest, target in photos)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _folders(folder: Path) -> list[Path]:
    return sorted(
        child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")
    )


def _photos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        child
        for child in folder.iterdir()
        if child.suffix.lower() in SUFFIXES and not child.name.startswith(".") and child.is_file()
    )
