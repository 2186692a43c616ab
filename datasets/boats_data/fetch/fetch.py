"""Fetches the boats: downloads an archive, checks every file, and only then puts them in place."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from boats_data.fetch.archive import LIMITS, Limits, unpack_files
from boats_data.fetch.download import download_file
from boats_data.fetch.manifest import boats_manifest, find_differences, read_manifest
from boats_runtime.errors import DataError, OutputError, UsageError

SOURCES = (
    "https://artist-cloud.ecs.soton.ac.uk/index.php/s/eAhIkhhdxgmhRHj/download",
    "https://github.com/jonhare/DISCnetMachineLearningCourse/archive/"
    "b6e04ace3429e698c61eb0e1068e2ae64580cac2.tar.gz",
)
"""Archives that hold the boats: the first of the Southampton deep learning lab, as it is handed to
students, the second a course that brings them in `Thursday/practical-part2/data`."""

TERMS = (
    "the boats are of MarDCT (ARGOS, Sapienza University of Rome); no licence is stated, so for "
    "research use; cite Bloisi et al., AVSS 2015, doi 10.1109/AVSS.2015.7301727"
)

Log = Callable[[str], None]


def fetch_data(
    folder: Path,
    log: Log,
    url: str | None = None,
    archive: Path | None = None,
    manifest_file: Path | None = None,
    limits: Limits = LIMITS,
) -> str:
    """Brings the boats into a folder, whole and checked, or leaves everything as it was.

    Args:
        folder: Where they are to be. If they are there already, nothing is done.
        log: Takes a line about what goes on.
        url: An archive to download instead of `SOURCES`.
        archive: An archive at hand, to download nothing.
        manifest_file: The manifest of other data than the boats.
        limits: What an archive may hold.

    Returns:
        A line that says what is where.

    Raises:
        UsageError: Something else is in the folder, the address is not one of the web, or both
            `url` and `archive` are given.
        DataError: No source gave exactly the files of the manifest.
        OutputError: The place can't be written, or the disk is full.
    """
    if url is not None and archive is not None:
        raise UsageError("--url and --archive: give one of them")
    if url is not None and not url.lower().startswith(("http://", "https://")):
        raise UsageError(f"--url {url}: not an address that begins with https:// or http://")
    if archive is not None and not archive.is_file():
        raise UsageError(f"--archive {archive}: no such file")
    manifest = boats_manifest() if manifest_file is None else read_manifest(manifest_file)
    try:
        if _is_there(folder, manifest):
            return f"{folder}: {len(manifest):,} photos, already there and as they should be"
        _fetch(folder, manifest, log, archive or ((url,) if url else SOURCES), limits)
    except OSError as error:
        raise OutputError(
            f"{error.filename or folder}: {error.strerror or error}; nothing was fetched"
        ) from error
    if manifest_file is None:
        log(TERMS)
    return f"{folder}: {len(manifest):,} photos, each as it should be"


def _is_there(folder: Path, manifest: Mapping[str, str]) -> bool:
    """Tells whether the folder holds the data set; an empty folder counts as none.

    Raises:
        UsageError: It is something else.
    """
    if not folder.is_dir():
        if folder.is_symlink() or folder.exists():
            raise UsageError(f"{folder}: is there, and is no folder; name another place")
        return False
    if not folder.is_symlink() and not any(folder.iterdir()):
        return False
    differences = find_differences(manifest, folder, "check")
    if differences:
        raise UsageError(
            f"{folder}: is there, and is not what would be fetched: {differences}; it was left as "
            "it is: name another folder, or remove this one"
        )
    return True


def _fetch(
    folder: Path,
    manifest: Mapping[str, str],
    log: Log,
    source: Path | Sequence[str],
    limits: Limits,
) -> None:
    """Unpacks the data set beside its place, from a file or the first good address; moves it in."""
    place = folder.absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    photos = scratch / "photos"
    try:
        if isinstance(source, Path):
            try:
                _unpack(source, manifest, photos, log, limits)
            except DataError as error:
                raise DataError(f"{source}: {error}; nothing was written") from error
        else:
            _download(source, manifest, photos, log, limits)
        if place.is_dir():
            place.rmdir()
        photos.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(
    urls: Sequence[str], manifest: Mapping[str, str], photos: Path, log: Log, limits: Limits
) -> None:
    failures = []
    for number, url in enumerate(urls, 1):
        log(f"downloading {url}")
        archive = photos.with_name("archive")
        try:
            download_file(url, archive, log)
            _unpack(archive, manifest, photos, log, limits)
        except DataError as error:
            if number < len(urls):
                log(f"{error}; trying the next source")
            failures.append(f"{url}: {error}")
            shutil.rmtree(photos, ignore_errors=True)
            archive.unlink(missing_ok=True)
        else:
            return
    raise DataError(
        f"nothing was fetched: {'; '.join(failures)}. Try again later, name a mirror with --url, "
        "or download one by hand and give it with --archive FILE"
    )


def _unpack(
    archive: Path, manifest: Mapping[str, str], photos: Path, log: Log, limits: Limits
) -> None:
    """Unpacks the manifest's files.

    Raises:
        DataError: The archive is refused, or does not hold exactly these files.
    """
    log("unpacking")
    photos.mkdir()
    left_out = unpack_files(archive, manifest, photos, limits)
    if left_out:
        log(f"left out what else the archive holds, {left_out:,} files")
    log("checking every file")
    differences = find_differences(manifest, photos, "check")
    if differences:
        raise DataError(
            f"of the {len(manifest):,} files {differences}; the archive was tampered with, or is "
            "another version"
        )
