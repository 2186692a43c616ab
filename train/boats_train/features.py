"""Features of photos: decoded in threads while the network works on the batch before."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from boats_runtime.errors import ImageError
from boats_runtime.preprocess import Preprocessing, decode
from numpy.typing import NDArray

from boats_train.network import FeatureNetwork
from boats_train.progress import track

BATCHES = {"cpu": 1, "cuda": 32}
"""Photos at once, by device. On a CPU more than one costs time: each layer's large output is memory
that the allocator asks the system for anew."""

AHEAD = 2
"""Batches that are decoded before the network asks for them."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Features:
    """Features of the photos that could be decoded.

    Attributes:
        values: `(M, D) float32`, in the photos' order.
        kept: Which photos they belong to: indices `(M,) int64` into the paths given.
        skipped: The other photos, each with its reason.
    """

    values: NDArray[np.float32]
    kept: NDArray[np.int64]
    skipped: tuple[tuple[Path, str], ...]


def extract_features(
    network: FeatureNetwork, preprocessing: Preprocessing, paths: Sequence[Path], title: str
) -> Features:
    """Runs the network over photos, with a progress bar; photos that can't be decoded are skipped.

    Args:
        network: On the device it is to run on.
        preprocessing: Makes the network's input.
        paths: The photos.
        title: Shown beside the progress bar.
    """
    device = network.mean.device
    values: list[NDArray[np.float32]] = []
    kept: list[int] = []
    skipped: list[tuple[Path, str]] = []
    size = BATCHES[device.type]
    batches = _decoded_batches(preprocessing, paths, size)
    start = 0
    with torch.inference_mode():
        for batch in track(batches, title, total=len(paths), step=size):
            good = []
            for index, decoded in enumerate(batch, start):
                if isinstance(decoded, ImageError):
                    skipped.append((paths[index], str(decoded)))
                else:
                    kept.append(index)
                    good.append(decoded)
            start += len(batch)
            if good:
                pixels = torch.from_numpy(np.stack(good)).to(device)
                values.append(network(pixels).float().cpu().numpy())
    width = values[0].shape[1] if values else 0
    stacked = np.concatenate([*values, np.empty((0, width), np.float32)])
    return Features(stacked, np.asarray(kept, dtype=np.int64), tuple(skipped))


def _decoded_batches(
    preprocessing: Preprocessing, paths: Sequence[Path], size: int
) -> Iterator[list[Pixels | ImageError]]:
    """Yields decoded batches in order."""

    def load(path: Path) -> Pixels | ImageError:
        try:
            return preprocessing.apply(decode(path))
        except ImageError as error:
            return error

    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        ahead = deque(pool.submit(load, path) for path in paths[: AHEAD * size])
        for start in range(0, len(paths), size):
            batch = [ahead.popleft().result() for _ in paths[start : start + size]]
            upcoming = paths[start + AHEAD * size : start + (AHEAD + 1) * size]
            ahead.extend(pool.submit(load, path) for path in upcoming)
            yield batch
