"""Manifests: the SHA-256 of every file of a dataset, in the format of `sha256sum`."""

import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from boats_data.dataset import SPLITS, list_files
from boats_runtime.errors import DataError
from boats_runtime.progress import track

_NAME = re.compile(rf"(?:{'|'.join(SPLITS)})(?:/[^./\\][^/\\]*){{2}}")


def read_manifest(path: Path | None) -> dict[str, str]:
    """Read a manifest of files named `split/class/file`.

    Args:
        path: Manifest file; None for the manifest of the boats dataset.

    Returns:
        SHA-256 in hexadecimal by file name.

    Raises:
        DataError: If the manifest cannot be read, is empty or has a malformed line.
    """
    source = path or resources.files("boats_data.fetch") / "manifests" / "boats.sha256"
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


def describe_differences(manifest: Mapping[str, str], folder: Path) -> str:
    """Compare a folder with its manifest.

    Args:
        manifest: SHA-256 in hexadecimal by file name.
        folder: Folder of the dataset.

    Returns:
        The numbers of altered, missing and unknown files with an example of each; empty if the
        folder contains exactly the files of the manifest, apart from hidden files.
    """
    present = sorted(name for name in manifest if (folder / name).is_file())
    altered = []
    for name in track(present, "files verified", total=len(present)):
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest[name]:
                altered.append(name)
    missing = sorted(manifest.keys() - set(present))
    unknown = [name for name in list_files(folder) if name not in manifest]
    kinds = {"altered": altered, "missing": missing, "unknown": unknown}
    return ", ".join(
        f"{len(names):,} {kind} (for example {names[0]})" for kind, names in kinds.items() if names
    )
