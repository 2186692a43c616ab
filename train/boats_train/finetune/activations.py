"""Activations of a frozen prefix on disk: memory-mapped shards of images and mirror images.

    <folder>/<number>.npy   (n, M, *shape) float16, n images in order, M orientations

A shard is written atomically and kept by an interruption, so the next training continues after it.
"""

import math
import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from boats_runtime.errors import OutputError
from boats_runtime.files import atomic_path
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.progress import track
from boats_train.features.extraction import decode_images
from boats_train.finetune.network_split import NetworkSplit, normalize
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.checkpoints import ACTIVATIONS

BUDGET = 8 * 10**9
"""Largest size of the activations on disk in bytes."""

RESERVE = 10**9
"""Bytes of the disk that stay free."""

SHARD_SIZE = 64
"""Images per shard; an interruption loses the activations of fewer images."""

FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class CacheLayout:
    """Size of a cache of activations.

    Attributes:
        images: Number of images.
        orientations: 2 with mirror images, 1 without.
        shape: Shape of an activation.
    """

    images: int
    orientations: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        return 2 * self.images * self.orientations * math.prod(self.shape)

    def describe(self) -> str:
        """Return the content and the size, for a message."""
        mirrored = "each image and its mirror image" if self.orientations == 2 else "each image"
        shape = "x".join(map(str, self.shape))
        return f"{shape} activations of {mirrored}, {self.size / 1e9:.2f} GB"


def compute_budget(folder: Path) -> int:
    """Return how many bytes activations can take in a folder, which may not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return min(BUDGET, shutil.disk_usage(existing).free - RESERVE)


class ActivationCache:
    """Activations of images; `fill` computes those that are not in the folder."""

    def __init__(self, folder: Path, layout: CacheLayout) -> None:
        self._folder, self._layout = folder, layout
        self._shards: list[NDArray[np.float16]] = []
        self._positions = np.arange(layout.images)

    @property
    def has_mirror_images(self) -> bool:
        """Whether the mirror images are in the cache."""
        return self._layout.orientations == 2

    def fill(
        self,
        network: FeatureNetwork,
        split: NetworkSplit,
        preprocessing: Preprocessing,
        paths: Sequence[Path],
    ) -> NDArray[np.bool_]:
        """Compute the activations of all images and return which can be decoded, (N,) bool.

        The others have no index afterwards: `take` counts the images that can be decoded.

        Raises:
            OutputError: If the folder cannot be written, for example because the disk is full.
        """
        compute = _PrefixFunction(network, split)
        starts = range(0, len(paths), SHARD_SIZE)
        self._shards = [
            self._load_or_write(number, compute, preprocessing, paths[start : start + SHARD_SIZE])
            for number, start in enumerate(track(starts, "shards of activations", len(starts)))
        ]
        marks = [shard[:, 0].reshape(len(shard), -1)[:, 0] for shard in self._shards]
        readable = ~np.isnan(np.concatenate(marks))
        self._positions = np.flatnonzero(readable)
        return readable

    def take(self, indices: Sequence[int], mirrored: Sequence[bool]) -> torch.Tensor:
        """Return the activations of images or of their mirror images, (B, *shape) float32."""
        rows = [
            self._shards[index // SHARD_SIZE][index % SHARD_SIZE, int(flipped)]
            for index, flipped in zip(self._positions[indices].tolist(), mirrored, strict=True)
        ]
        return torch.from_numpy(np.stack(rows)).float()

    def _load_or_write(
        self,
        number: int,
        compute: "_PrefixFunction",
        preprocessing: Preprocessing,
        paths: Sequence[Path],
    ) -> NDArray[np.float16]:
        path = self._folder / f"{number:05}{ACTIVATIONS}"
        shape = (len(paths), self._layout.orientations, *self._layout.shape)
        shard = _load(path, shape)
        if shard is None:
            values = np.full(shape, np.nan, np.float16)  # stays where an image cannot be decoded
            for index, pixels in decode_images(preprocessing, paths):
                values[index] = compute(pixels, self._layout.orientations)
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with atomic_path(path) as scratch, scratch.open("wb") as stream:
                    np.save(stream, values)
            except (OSError, OutputError) as error:
                raise OutputError(
                    f"activations cannot be stored: {error}; free space, or give --unfreeze 0"
                ) from error
            shard = _load(path, shape)
            if shard is None:
                raise OutputError(f"{path}: cannot be read again; give --unfreeze 0")
        return shard


class _PrefixFunction:
    """Activations, (M, *shape) float16, of the pixels of an image, (H, W, 3) uint8."""

    def __init__(self, network: FeatureNetwork, split: NetworkSplit) -> None:
        self._network = network
        self._prefix = deepcopy(split.prefix).eval().to(memory_format=torch.channels_last)

    def __call__(self, pixels: NDArray[np.uint8], orientations: int) -> NDArray[np.float16]:
        rows = []
        for image in (pixels, pixels[:, ::-1])[:orientations]:
            # One at a time: larger batches are slower on a CPU, see `features.inference`.
            batch = torch.from_numpy(image[np.newaxis].copy()).to(self._network.mean.device)
            with torch.inference_mode():
                activation = self._prefix(normalize(self._network, batch))
            rows.append(activation[0].clamp(-FLOAT16_MAX, FLOAT16_MAX).half().cpu().numpy())
        return np.stack(rows)


def _load(path: Path, shape: tuple[int, ...]) -> NDArray[np.float16] | None:
    """Return a memory-mapped shard, or None if there is none of this shape."""
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return shard if shard.shape == shape and shard.dtype == np.float16 else None
