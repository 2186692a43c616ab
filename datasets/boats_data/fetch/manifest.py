"""Manifests: the SHA-256 of every file of a dataset, in the format of `sha256sum`."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from boats_data.dataset import SPLITS
from boats_runtime.errors import DataError
from boats_runtime.progress import track

BOATS_MANIFEST = "boats.sha256"
_NAME = re.compile(rf"(?:{'|'.join(SPLITS)})(?:/[^./\\][^/\\]*){{2}}")


@dataclass(frozen=True)
class Differences:
    """Differences between a folder and its manifest: sorted file names.

    Attributes:
        altered: Files with other content.
        missing: Files that do not exist.
        extra: Files that the manifest does not list, except hidden files.
    """

    altered: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.altered or self.missing or self.extra)

    def __str__(self) -> str:
        kinds = (("altered", self.altered), ("missing", self.missing), ("unknown", self.extra))
        return ", ".join(
            f"{len(names):,} {kind} (for example {names[0]})" for kind, names in kinds if names
        )


def read_manifest(path: Path | None) -> dict[str, str]:
    """Read a manifest of files named `split/class/file`.

    Args:
        path: Manifest file; None for the manifest of the boats dataset.

    Returns:
        SHA-256 in hexadecimal by file name.

    Raises:
        DataError: If the manifest cannot be read, is empty or has a malformed line.
    """
    source = path or resources.files("boats_data.fetch") / "manifests" / BOATS_MANIFEST
    try:
        lines = source.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: the manifest cannot be read: {error}") from error
    manifest: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        digest, _, name = line.partition("  ")
        valid = re.fullmatch("[0-9a-f]{64}", digest) and _NAME.fullmatch(name)
        if not valid or name in manifest:
            raise DataError(
                f"{source}, line {number}: the manifest needs a SHA-256, two spaces and a unique "
                "split/class/file"
            )
        manifest[name] = digest
    if not manifest:
        raise DataError(f"{source}: the manifest is empty")
    return manifest


def find_differences(manifest: Mapping[str, str], folder: Path) -> Differences:
    """Compare a folder with its manifest.

    Args:
        manifest: SHA-256 in hexadecimal by file name.
        folder: Folder of the dataset.
    """
    missing = sorted(name for name in manifest if not (folder / name).is_file())
    present = sorted(manifest.keys() - set(missing))
    altered = tuple(
        name
        for name in track(present, "files verified", total=len(present))
        if _compute_digest(folder / name) != manifest[name]
    )
    names = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    visible = {
        name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)
    }
    return Differences(altered, tuple(missing), tuple(sorted(visible - manifest.keys())))


def _compute_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
