"""Datasets on disk: `train/<class>/*.jpg`, `valid/...` and optionally `test/...`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_runtime.decoding import SUFFIXES
from boats_runtime.errors import DataError
from boats_runtime.text import is_printable

SPLITS = ("train", "valid", "test")
"""Folder names of the splits; `test` is optional."""


@dataclass(frozen=True)
class LabeledImages:
    """Images of one split with their class indices.

    Attributes:
        paths: Image files, N of them, sorted by class and name.
        targets: Class indices `(N,) int64`.
    """

    paths: tuple[Path, ...]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk.

    Attributes:
        root: Folder of the dataset.
        classes: Names of the folders in `train`, sorted.
        splits: Images of `train`, `valid` and, if it exists, `test`.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, LabeledImages]


def scan_dataset(root: Path) -> Dataset:
    """List the images of a dataset without opening them.

    Hidden files and files with an unknown suffix are ignored.

    Raises:
        DataError: If a folder does not exist, a class is empty, there are fewer than two classes,
            or a split has a class that `train` does not have.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: folder does not exist; pass a folder with train/<class>/*.jpg and "
            "valid/<class>/*.jpg, or try boats-train --demo"
        )
    for name in ("train", "valid"):
        if not (root / name).is_dir():
            raise DataError(f"{root}: has no folder {name}/ with one folder of images per class")
    classes = tuple(scan_classes(root / "train"))
    if len(classes) < 2:
        found = f"only the class {classes[0]}" if classes else "no class folders"
        raise DataError(f"{root / 'train'}: {found}; at least two classes are required")
    splits = {name: scan_split(root / name, classes) for name in SPLITS if (root / name).is_dir()}
    empty = set(range(len(classes))) - set(splits["train"].targets.tolist())
    if empty:
        folder = root / "train" / classes[min(empty)]
        raise DataError(f"{folder}: class has no images; add images or remove the folder")
    return Dataset(root, classes, splits)


def scan_split(folder: Path, classes: Sequence[str]) -> LabeledImages:
    """List the images of one split without opening them.

    Args:
        folder: Folder of the split, with one folder of images per class.
        classes: Class names, in the order of the targets.

    Raises:
        DataError: If the folder does not exist, has no images or has an unknown class.
    """
    images = scan_classes(folder)
    unknown = [name for name in images if name not in classes]
    if unknown:
        raise DataError(
            f"{folder}: has classes that train does not have: {', '.join(unknown)}; "
            "add them to train or remove them here"
        )
    pairs = [(path, index) for index, name in enumerate(classes) for path in images.get(name, ())]
    if not pairs:
        raise DataError(f"{folder}: contains no images ({', '.join(sorted(SUFFIXES))})")
    paths, targets = zip(*pairs, strict=True)
    return LabeledImages(paths, np.array(targets, dtype=np.int64))


def scan_classes(folder: Path) -> dict[str, tuple[Path, ...]]:
    """List the images of every class folder, sorted, without opening them.

    FIFOs, devices and dangling links with the suffix of an image are listed too: reading them
    fails, which is reported.

    Raises:
        DataError: If the folder cannot be read, for example because it does not exist, or a class
            has a control character in its name.
    """
    try:
        images = {
            child.name: tuple(
                path
                for path in _list_visible(child)
                if path.suffix.lower() in SUFFIXES and not path.is_dir()
            )
            for child in _list_visible(folder)
            if child.is_dir()
        }
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
    for name in images:
        if not is_printable(name):
            raise DataError(
                f"{folder / name}: the name of a class must not have control characters, "
                "bidirectional overrides or bytes that are not UTF-8; rename the folder"
            )
    return images


def list_files(folder: Path) -> list[str]:
    """Return the names of all files below a folder, relative to it, except hidden ones."""
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if not path.is_dir()]
    return [name.as_posix() for name in names if not any(part[0] == "." for part in name.parts)]


def digest_images(
    digests: Sequence[bytes], targets: NDArray[np.int64], classes: Sequence[str]
) -> str:
    """Return a SHA-256 of labeled images that does not depend on their names and order.

    Args:
        digests: SHA-256 of each image file, N of them.
        targets: Class indices `(N,) int64`.
        classes: Class names.
    """
    images = zip(digests, targets, strict=True)
    lines = sorted(f"{digest.hex()} {classes[target]}\n" for digest, target in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _list_visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
