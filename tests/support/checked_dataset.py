"""A dataset without problems, and methods that add problems for `boats-data check` to find."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from boats_data.check.checks import check_data
from boats_data.check.findings import Finding


def draw_blots(seed: int, size: tuple[int, int] = (160, 48)) -> Image.Image:
    """Return an image of soft blots that depends on the seed."""
    blots = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC)


class CheckedDataset:
    """A dataset of two classes with five images each in `train` and `valid`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for number in range(20):
            split, label = ("train", "valid")[number // 10], ("a", "b")[number // 5 % 2]
            self.add(f"{split}/{label}/{number:02}.jpg", draw_blots(number))

    def add(self, name: str, image: Image.Image, **options: object) -> None:
        """Save an image."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)

    def copy(self, name: str, *copies: str) -> None:
        """Copy an image file."""
        for other in copies:
            shutil.copyfile(self.root / name, self.root / other)

    def rename(self, name: str, file_name: str) -> None:
        """Rename an image file in its folder."""
        (self.root / name).rename((self.root / name).with_name(file_name))

    def find(self, pattern: str | None = None) -> list[Finding]:
        """Return the findings of a check."""
        return list(check_data(self.root, pattern).findings)

    def find_only(self, pattern: str | None = None) -> Finding:
        """Return the only finding of a check."""
        (finding,) = self.find(pattern)
        return finding

    def find_codes(self) -> list[str]:
        """Return the codes of the findings."""
        return [finding.code for finding in self.find()]
