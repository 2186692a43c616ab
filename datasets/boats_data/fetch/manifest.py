"""A manifest: the SHA-256 of every file of a picture set, and how a folder differs from it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from boats_data.dataset import SPLITS
from boats_runtime.errors import DataError
from boats_runtime.progress import track

_BOATS = "boats.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass(frozen=True)
class Differences:
    """How a folder differs from its manifest: names of files, sorted.

    Attributes:
        altered: Files whose contents are others.
        missing: Files that are not there.
        extra: Files that the manifest does not know; hidden ones aside.
    """

    altered: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.altered or self.missing or self.extra)

    def __str__(self) -> str:
        kinds = (("altered", self.altered), ("missing", self.missing), ("not of it", self.extra))
        return ", ".join(
            f"{len(names):,} {kind} (such as {names[0]})" for kind, names in kinds if names
        )


def boats_manifest() -> dict[str, str]:
    """Returns the manifest of the boats, which is part of this package."""
    text = (resources.files("boats_train") / "manifests" / _BOATS).read_text("utf-8")
    return _parse(text, _BOATS)


def read_manifest(path: Path) -> dict[str, str]:
    """Reads a manifest, as `sha256sum` writes it: names of the form `split/class/file`.

    Returns:
        SHA-256 in hexadecimal by name.

    Raises:
        DataError: It can't be read, is empty, or has a line that is not of this form.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a manifest that can be read: {error}") from error
    return _parse(text, str(path))


def find_differences(manifest: Mapping[str, str], folder: Path, title: str) -> Differences:
    """Reads a whole folder, with a progress bar, and compares it with its manifest.

    Args:
        manifest: SHA-256 in hexadecimal by name.
        folder: The picture set's folder.
        title: Shown before the progress bar.
    """
    missing = tuple(sorted(name for name in manifest if not (folder / name).is_file()))
    present = sorted(manifest.keys() - set(missing))
    altered = tuple(
        name
        for name in track(present, title, total=len(present))
        if _digest(folder / name) != manifest[name]
    )
    names = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    extra = {
        name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)
    }
    return Differences(altered, missing, tuple(sorted(extra - manifest.keys())))


def _parse(text: str, where: str) -> dict[str, str]:
    manifest: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        parts = match[2].split("/") if match else []
        if (
            match is None
            or len(parts) != 3
            or parts[0] not in SPLITS
            or any(part.startswith(".") or not part or "\\" in part for part in parts)
            or match[2] in manifest
        ):
            raise DataError(
                f"{where}, line {number}: not a SHA-256, two spaces and a new split/class/file"
            )
        manifest[match[2]] = match[1]
    if not manifest:
        raise DataError(f"{where}: an empty manifest")
    return manifest


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
