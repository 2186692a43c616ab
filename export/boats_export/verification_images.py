"""The photos an export is measured on: real ones with their labels, and hard ones."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import digest_images, scan_split
from boats_runtime.errors import DataError, ImageError
from boats_runtime.prefetch import prefetch
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.progress import track
from boats_train.runs.run import Run

AHEAD = 4
"""Photos that are decoded before they are asked for."""

HARD = ("black", "white", "noise", "one pixel changed")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Photos:
    """ArrayDataset photos that can be decoded; each pass decodes them anew, so that memory stays flat.

    Attributes:
        preprocessing: Makes the network's input.
        paths: The files, N of them.
        targets: Class indices `(N,) int64`.
        digest: As `digest_images` has it.
    """  # noqa: E501

    preprocessing: Preprocessing
    paths: tuple[Path, ...]
    targets: NDArray[np.int64]
    digest: str

    def __iter__(self) -> Iterator[Pixels]:
        """Yields each photo as `(H, W, 3) uint8`."""
        return prefetch(self.preprocessing.read, iter(self.paths), AHEAD)

    def __len__(self) -> int:
        return len(self.paths)

    def with_hard(self) -> Iterator[Pixels]:
        """Yields each photo, and then the `HARD` ones."""
        yield from self
        size = (self.preprocessing.height, self.preprocessing.width, 3)
        yield np.zeros(size, np.uint8)
        yield np.full(size, 255, np.uint8)
        yield np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        changed = np.array(self.preprocessing.read(self.paths[0]))
        changed[size[0] // 2, size[1] // 2] ^= 255
        yield changed


def load_verification_images(run: Run, data: Path | None, name: str) -> Photos:
    """Finds the photos of a split that can be decoded; training has named the others.

    Args:
        run: Knows its classes, and where its picture set was.
        data: Where the picture set is now, if it moved.
        name: `train` or `valid`.

    Raises:
        DataError: There are none, or they are of other classes.
    """
    folder = (data or Path(run.config.data)) / name
    if not folder.is_dir():
        raise DataError(f"{folder}: no photos to prove the export on; give --data DIR")
    split = scan_split(folder, run.classes)

    def digest(path: Path) -> bytes | None:
        try:
            content = path.read_bytes()
            run.preprocessing.read(content)
        except (ImageError, OSError):
            return None
        return hashlib.sha256(content).digest()

    found = prefetch(digest, split.paths, AHEAD)
    digests = list(track(found, f"decode {name}", len(split.paths)))
    kept = [index for index, one in enumerate(digests) if one is not None]
    if not kept:
        raise DataError(f"{folder}: none of its {len(digests)} photos can be read")
    targets = split.targets[kept]
    return Photos(
        run.preprocessing,
        tuple(split.paths[index] for index in kept),
        targets,
        digest_images([one for one in digests if one is not None], targets, run.classes),
    )
