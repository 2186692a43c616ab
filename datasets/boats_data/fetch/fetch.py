"""Download the boats dataset and verify every file before it is put in place."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from boats_data.fetch.archive import unpack_files
from boats_data.fetch.download import Log, download_file
from boats_data.fetch.manifest import describe_differences, read_manifest
from boats_runtime.errors import DataError, OutputError, UsageError

SOURCES = (
    "https://artist-cloud.ecs.soton.ac.uk/index.php/s/eAhIkhhdxgmhRHj/download",
    "https://github.com/jonhare/DISCnetMachineLearningCourse/archive/"
    "b6e04ace3429e698c61eb0e1068e2ae64580cac2.tar.gz",
)
"""Archives with the boats dataset: of the Southampton deep learning lab, and of a course that has
the images in `Thursday/practical-part2/data`."""

TERMS = (
    "the boats are from MarDCT (ARGOS, Sapienza University of Rome); no license is stated, so use "
    "them for research only; cite Bloisi et al., AVSS 2015, doi 10.1109/AVSS.2015.7301727"
)


def fetch_data(
    folder: Path,
    log: Log,
    url: str | None = None,
    archive: Path | None = None,
    manifest_file: Path | None = None,
) -> str:
    """Put a verified dataset into a folder, or change nothing.

    Args:
        folder: Folder for the dataset. Nothing is downloaded if it already contains the dataset.
        log: Receives lines about the progress.
        url: Archive to download instead of `SOURCES`.
        archive: Archive on disk to use instead of a download.
        manifest_file: Manifest of another dataset than the boats.

    Returns:
        A line for the user about the result.

    Raises:
        UsageError: If the folder contains something else, the address is not `http` or `https`, or
            both `url` and `archive` are given.
        DataError: If no source provides exactly the files of the manifest.
        OutputError: If the folder cannot be written, for example because the disk is full.
    """
    if url is not None and archive is not None:
        raise UsageError("--url and --archive: pass only one of them")
    if url is not None and not url.lower().startswith(("http://", "https://")):
        raise UsageError(f"--url {url}: must start with https:// or http://")
    if archive is not None and not archive.is_file():
        raise UsageError(f"--archive {archive}: file does not exist")
    manifest = read_manifest(manifest_file)
    try:
        if _is_complete(folder, manifest):
            return f"{folder}: already contains the {len(manifest):,} images, all verified"
        # The dataset is unpacked beside its place, so that moving it there is atomic.
        place = folder.absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as scratch:
            if archive is None:
                root = _download((url,) if url else SOURCES, manifest, Path(scratch), log)
            else:
                try:
                    root = _unpack(archive, manifest, Path(scratch), log)
                except DataError as error:
                    raise DataError(f"{archive}: {error}; nothing was written") from error
            if place.is_dir():
                place.rmdir()
            root.rename(place)
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}; nothing was fetched"
        ) from error
    if manifest_file is None:
        log(TERMS)
    return f"{folder}: {len(manifest):,} images, all verified"


def _is_complete(folder: Path, manifest: Mapping[str, str]) -> bool:
    """Return whether the folder contains the dataset; raise UsageError for anything else."""
    is_empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if is_empty and not folder.is_symlink():
        return False
    differences = describe_differences(manifest, folder)
    if differences:
        raise UsageError(
            f"{folder}: exists and is not the dataset to be fetched: {differences}; nothing was "
            "changed: choose another folder or remove this one"
        )
    return True


def _download(urls: Sequence[str], manifest: Mapping[str, str], scratch: Path, log: Log) -> Path:
    """Download and unpack the dataset from the first address that provides it."""
    failures = []
    for url in urls:
        log(f"downloading {url}")
        attempt = Path(tempfile.mkdtemp(dir=scratch))
        try:
            download_file(url, attempt / "archive", log)
            return _unpack(attempt / "archive", manifest, attempt, log)
        except DataError as error:
            shutil.rmtree(attempt)
            failures.append(f"{url}: {error}")
            if len(failures) < len(urls):
                log(f"{error}; trying the next source")
    raise DataError(
        f"nothing was fetched: {'; '.join(failures)}. Try again later, pass a mirror with --url, "
        "or download an archive yourself and pass it with --archive FILE"
    )


def _unpack(archive: Path, manifest: Mapping[str, str], scratch: Path, log: Log) -> Path:
    """Unpack and verify the files of the manifest and return their folder."""
    log("unpacking")
    images = scratch / "images"
    images.mkdir()
    root, skipped = unpack_files(archive, manifest, images)
    if skipped:
        log(f"skipped {skipped:,} other files of the archive")
    log("verifying every file")
    differences = describe_differences(manifest, root)
    if differences:
        raise DataError(
            f"of the {len(manifest):,} files {differences}; the archive was altered or is another "
            "version"
        )
    return root
