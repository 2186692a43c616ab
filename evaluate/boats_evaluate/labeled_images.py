"""The photos to judge on: a folder of photos for each class, those the model knows and others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boats_data.dataset import SPLITS, scan_classes
from boats_runtime.errors import DataError, UsageError
from boats_runtime.preprocessing import SUFFIXES


@dataclass(frozen=True)
class Photo:
    """A labelled photo.

    Attributes:
        path: Its file.
        label: The name of the folder that it lies in.
    """

    path: Path
    label: str

    @property
    def name(self) -> str:
        """As it is told: folder and file, `Topa/1.jpg`."""
        return f"{self.label}/{self.path.name}"


def find_images(folder: Path, labels: Sequence[str]) -> list[Photo]:
    """Finds labelled photos without opening them: class by class, and sorted by name.

    Args:
        folder: Holds a folder of photos for each class; classes that the model doesn't know too.
        labels: The classes that the model knows.

    Raises:
        UsageError: It holds `train`, `valid` or `test` instead; says which folder to name.
        DataError: It is missing, holds no photos, or none of a class that the model knows.
    """
    found = scan_classes(folder)
    splits = [name for name in SPLITS if name in found and name not in labels]
    if splits and not set(found) & set(labels):
        names = " or ".join(str(folder / name) for name in splits)
        raise UsageError(f"{folder}: is a whole picture set: name one of its splits, {names}")
    if not found:
        raise DataError(f"{folder}: no class folders in it; expected {folder}/<class>/*.jpg")
    photos = [Photo(path, label) for label, paths in found.items() for path in paths]
    if not photos:
        raise DataError(f"{folder}: no photos in its folders ({', '.join(sorted(SUFFIXES))})")
    if not any(photo.label in labels for photo in photos):
        raise DataError(
            f"{folder}: no photo of a class that the model knows; it knows {_few(labels)}, "
            f"the folder has {_few(sorted({photo.label for photo in photos}))}"
        )
    return photos


def _few(names: Sequence[str], count: int = 5) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
