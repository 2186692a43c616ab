"""Features of photos: decoded in threads while the network works, and kept for the next time."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_runtime.errors import ImageError
from boats_runtime.prefetch import prefetch
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.progress import track
from boats_train.features.cache import FeatureCache
from boats_train.features.inference import InferenceBackend

AHEAD = 2
"""Batches that are decoded before the network asks for them."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Features:
    """Features of the photos that could be decoded.

    Attributes:
        values: `(M, D) float32`, in the photos' order.
        kept: Which photos they belong to: indices `(M,) int64` into the paths given.
        digests: The SHA-256 of those photos' files, M of them.
        skipped: The other photos, each with its reason.
        remembered: How many came from the cache.
    """

    values: NDArray[np.float32]
    kept: NDArray[np.int64]
    digests: tuple[bytes, ...]
    skipped: tuple[tuple[Path, str], ...]
    remembered: int


@dataclass(frozen=True)
class _Photo:
    """A photo's bytes by their SHA-256, and its pixels unless its features are known."""

    digest: bytes
    pixels: Pixels | None


def extract_features(
    engine: InferenceBackend,
    preprocessing: Preprocessing,
    paths: Sequence[Path],
    cache: FeatureCache,
    title: str,
) -> Features:
    """Runs the network over photos, with a progress bar; photos that can't be decoded are skipped.

    Args:
        engine: Runs the network.
        preprocessing: Makes the network's input.
        paths: The photos.
        cache: Features already known; the new ones are put there, also when this is interrupted.
        title: Shown beside the progress bar.

    Raises:
        OutputError: The cache can't be written.
    """
    digests: list[bytes] = []
    kept: list[int] = []
    skipped: list[tuple[Path, str]] = []
    remembered = 0
    waiting: list[_Photo] = []
    try:
        photos = _load(preprocessing, paths, cache, engine.batch)
        for index, photo in enumerate(track(photos, title, len(paths))):
            if isinstance(photo, ImageError):
                skipped.append((paths[index], str(photo)))
                continue
            kept.append(index)
            digests.append(photo.digest)
            if photo.pixels is None:
                remembered += 1
                continue
            waiting.append(photo)
            if len(waiting) == engine.batch:
                _run(engine, waiting, cache)
                waiting = []
        if waiting:
            _run(engine, waiting, cache)
    finally:
        cache.flush()
    rows = [row for digest in digests if (row := cache.get(digest)) is not None]
    values = np.stack(rows) if rows else np.empty((0, 0), np.float32)
    indices = np.asarray(kept, dtype=np.int64)
    return Features(values, indices, tuple(digests), tuple(skipped), remembered)


def decode_images(
    preprocessing: Preprocessing, paths: Sequence[Path]
) -> Iterator[tuple[int, Pixels]]:
    """Yields the index and the pixels `(H, W, 3) uint8` of each photo that can be decoded."""
    nothing = FeatureCache(None, "")
    for index, photo in enumerate(_load(preprocessing, paths, nothing, batch=8)):
        if not isinstance(photo, ImageError) and photo.pixels is not None:
            yield index, photo.pixels


def _run(engine: InferenceBackend, photos: Sequence[_Photo], cache: FeatureCache) -> None:
    pixels = np.stack([photo.pixels for photo in photos if photo.pixels is not None])
    for photo, row in zip(photos, engine.run(pixels), strict=True):
        cache.put(photo.digest, row)


def _load(
    preprocessing: Preprocessing, paths: Sequence[Path], cache: FeatureCache, batch: int
) -> Iterator[_Photo | ImageError]:
    """Yields the photos in order, some batches ahead of the network."""

    def load(path: Path) -> _Photo | ImageError:
        try:
            content = path.read_bytes()
            digest = hashlib.sha256(content).digest()
            known = cache.get(digest) is not None
            return _Photo(digest, None if known else preprocessing.read(content))
        except OSError as error:
            return ImageError(f"can't be read: {error.strerror or error}")
        except ImageError as error:
            return error

    yield from prefetch(load, paths, AHEAD * batch)
