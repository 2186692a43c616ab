"""The demo set: a small picture set drawn by this code, to try the product without photos."""

import io
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from boats_data.drawing import draw_photo
from boats_runtime.errors import OutputError, UsageError

DEMO_COUNTS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "water": (30, 6, 8),
        "ferry": (34, 6, 8),
        "motorboat": (26, 5, 7),
        "sailboat": (18, 4, 6),
        "gondola": (10, 3, 5),
        "rowboat": (8, 2, 4),
    }
)
"""Photos of each class in `train`, `valid` and `test`."""

_SPLITS = ("train", "valid", "test")
_MARK = ".boats-demo"
"""The file that tells a demo set from a folder of someone's photos: seed and counts as JSON."""


def write_demo_data(
    root: Path, seed: int = 0, counts: Mapping[str, tuple[int, int, int]] = DEMO_COUNTS
) -> None:
    """Draws the demo set into a new folder, whole or not at all; one that is there is kept.

    The same seed and counts give the same bytes.

    Args:
        root: The picture set's folder, `root/train/<class>/*.jpg` and so on.
        seed: Decides what each photo looks like.
        counts: Photos of each class in `train`, `valid` and `test`.

    Raises:
        UsageError: The folder exists and is not this demo set, or a class can't be drawn.
        OutputError: The place can't be written, or the disk is full.
    """
    mark = {"seed": seed, "counts": {label: list(number) for label, number in counts.items()}}
    try:
        if root.exists() or root.is_symlink():
            _check_mark(root, mark)
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".drawing-", dir=root.parent))
        try:
            _write_set(scratch, seed, counts)
            (scratch / _MARK).write_text(json.dumps(mark) + "\n")
            scratch.chmod(0o755)  # a temporary folder is its maker's alone
            scratch.rename(root)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{root}: the demo set can't be written: {reason}; make room or name another folder"
        ) from error


def _check_mark(root: Path, mark: Mapping[str, object]) -> None:
    try:
        found = json.loads((root / _MARK).read_bytes())
    except (OSError, ValueError):
        found = None
    if found == mark:
        return
    if isinstance(found, dict) and "seed" in found:
        raise UsageError(
            f"{root}: exists and isn't this demo set but one of seed {found['seed']} or of other "
            "counts; remove it, or name a folder that doesn't exist"
        )
    raise UsageError(
        f"{root}: exists and isn't the demo set; name a folder that doesn't exist, "
        "or leave --demo out to train on the photos in it"
    )


def _write_set(folder: Path, seed: int, counts: Mapping[str, tuple[int, int, int]]) -> None:
    for label, numbers in counts.items():
        for split, number in zip(_SPLITS, numbers, strict=True):
            (folder / split / label).mkdir(parents=True)
            for index in range(number):
                # Each photo has a stream of its own: other counts leave it as it is.
                rng = np.random.default_rng(list(f"{seed}/{split}/{label}/{index}".encode()))
                photo = io.BytesIO()
                image = draw_photo(label, rng)
                image.save(photo, "JPEG", quality=int(rng.integers(55, 96)))
                path = folder / split / label / f"{label}_{index:03}.jpg"
                path.write_bytes(photo.getvalue())
