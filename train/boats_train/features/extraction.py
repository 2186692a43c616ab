"""Feature extraction: images are decoded in threads while the network runs."""

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
from boats_runtime.regular_files import read_regular
from boats_train.features.cache import FeatureCache
from boats_train.features.inference import InferenceBackend

PREFETCH_BATCHES = 2
"""Number of batches that are decoded ahead of the network."""


@dataclass(frozen=True)
class ExtractedFeatures:
    """Features of the M images that could be decoded.

    Attributes:
        values: (M, D) float32, in the order of the images.
        indices: (M,) int64, indices of these images in the given paths.
        digests: SHA-256 of the files of these images.
        skipped: Images that could not be decoded, each with the reason.
        cached: Number of images whose features were in the cache.
    """

    values: NDArray[np.float32]
    indices: NDArray[np.int64]
    digests: tuple[bytes, ...]
    skipped: tuple[tuple[Path, str], ...]
    cached: int


LoadedImage = tuple[bytes, NDArray[np.uint8] | None]
"""SHA-256 and pixels of an image file; the pixels are None if its features are cached."""


def extract_features(
    backend: InferenceBackend,
    preprocessing: Preprocessing,
    paths: Sequence[Path],
    cache: FeatureCache,
    title: str,
) -> ExtractedFeatures:
    """Compute the features of images; images that cannot be decoded are skipped.

    Features are read from the cache and written to it, also those computed before an interruption.
    The title is that of the progress line.

    Raises:
        OutputError: If the cache cannot be written.
    """
    digests: list[bytes] = []
    indices: list[int] = []
    skipped: list[tuple[Path, str]] = []
    cached = 0
    batch: dict[bytes, NDArray[np.uint8]] = {}

    def run_batch() -> None:
        features = backend.run(np.stack(list(batch.values())))
        for digest, row in zip(batch, features, strict=True):
            cache.put(digest, row)
        batch.clear()

    try:
        images = _load_images(preprocessing, paths, cache, backend.batch_size)
        for index, image in enumerate(track(images, title, len(paths))):
            if isinstance(image, ImageError):
                skipped.append((paths[index], str(image)))
                continue
            digest, pixels = image
            indices.append(index)
            digests.append(digest)
            if pixels is None:
                cached += 1
                continue
            batch[digest] = pixels
            if len(batch) == backend.batch_size:
                run_batch()
        if batch:
            run_batch()
    finally:
        cache.flush()
    rows = []
    for digest in digests:
        row = cache.get(digest)
        if row is None:  # leaving it out would give the following rows the targets of other images
            raise AssertionError("the cache has no features of an image that was just run")
        rows.append(row)
    values = np.stack(rows) if rows else np.empty((0, 0), np.float32)
    return ExtractedFeatures(
        values, np.asarray(indices, dtype=np.int64), tuple(digests), tuple(skipped), cached
    )


def decode_images(
    preprocessing: Preprocessing, paths: Sequence[Path]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield index and pixels, (H, W, 3) uint8, of each image that can be decoded."""
    empty_cache = FeatureCache(None, "")
    for index, image in enumerate(_load_images(preprocessing, paths, empty_cache, batch_size=8)):
        if not isinstance(image, ImageError) and image[1] is not None:
            yield index, image[1]


def _load_images(
    preprocessing: Preprocessing, paths: Sequence[Path], cache: FeatureCache, batch_size: int
) -> Iterator[LoadedImage | ImageError]:
    def load(path: Path) -> LoadedImage | ImageError:
        try:
            content = read_regular(path)
            digest = hashlib.sha256(content).digest()
            is_cached = cache.get(digest) is not None
            return digest, None if is_cached else preprocessing.read(content)
        except OSError as error:
            return ImageError(f"cannot be read: {error.strerror or error}")
        except ImageError as error:
            return error

    yield from prefetch(load, paths, PREFETCH_BATCHES * batch_size)
