"""Labeled images in a folder with one subfolder per class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boats_data.dataset import SPLITS, scan_classes
from boats_runtime.decoding import SUFFIXES
from boats_runtime.errors import DataError, UsageError


@dataclass(frozen=True)
class LabeledImage:
    """An image file and its label.

    Attributes:
        path: Image file.
        label: Name of the class folder that contains the file.
        digest: SHA-256 of the file; empty before the file is read.
    """

    path: Path
    label: str
    digest: bytes = b""

    @property
    def name(self) -> str:
        """Class folder and file name, such as `topa/1.jpg`."""
        return f"{self.label}/{self.path.name}"


def find_images(folder: Path, labels: Sequence[str]) -> list[LabeledImage]:
    """List the images of all class folders, sorted by class and file name.

    Args:
        folder: Folder with one subfolder per class, including classes unknown to the model.
        labels: Classes of the model.

    Raises:
        UsageError: If the folder contains `train`, `valid` or `test` instead of classes.
        DataError: If the folder does not exist or has no image of a class of the model.
    """
    found = scan_classes(folder)
    splits = [name for name in SPLITS if name in found and name not in labels]
    if splits and not set(found) & set(labels):
        paths = " or ".join(str(folder / name) for name in splits)
        raise UsageError(f"{folder}: this is a whole dataset; give one of its splits, {paths}")
    if not found:
        raise DataError(f"{folder}: has no class folders; expected {folder}/<class>/*.jpg")
    images = [LabeledImage(path, label) for label, paths in found.items() for path in paths]
    if not images:
        raise DataError(f"{folder}: has no images in its folders ({', '.join(sorted(SUFFIXES))})")
    if not any(image.label in labels for image in images):
        raise DataError(
            f"{folder}: has no image of a class of the model; the model's classes are "
            f"{_shorten(labels)}, the folder's are {_shorten(sorted({i.label for i in images}))}"
        )
    return images


def _shorten(names: Sequence[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
