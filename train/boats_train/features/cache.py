"""Feature cache on disk, indexed by network, preprocessing and the content of the image file.

    <cache>/<network key>/<random>.safetensors   digests (n, 32) uint8, features (n, D) float32

Shards are written atomically under random names, so several processes can share a cache. A shard
that cannot be read is removed.
"""

import contextlib
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from boats_runtime.errors import OutputError
from boats_runtime.files import write_atomic
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.feature_network import FeatureNetwork

SHARD_SIZE = 64
"""Images per shard; an interruption loses the features of fewer images."""


def default_folder() -> Path:
    """Return the default cache folder, `boats/features` in the cache folder of the user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "boats" / "features"


def network_key(network: FeatureNetwork, preprocessing: Preprocessing, backend: str) -> str:
    """Return a digest of everything that determines the features of an image.

    The name of the inference backend is part of it, because backends round differently.
    """
    digest = hashlib.sha256(str(network.backbone).encode())
    digest.update(json.dumps([preprocessing.to_json(), backend], sort_keys=True).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    if not _is_library_code(network):
        digest.update(_probe(network, preprocessing))
    return digest.hexdigest()[:32]


def _is_library_code(network: FeatureNetwork) -> bool:
    """Return whether the layers and their order are those of a library."""
    packages = {type(module).__module__.partition(".")[0] for module in network.modules()}
    return packages <= {"boats_train", "timm", "torch", "torchvision"}


def _probe(network: FeatureNetwork, preprocessing: Preprocessing) -> bytes:
    """Return the features of a fixed image, which also depend on the code between the layers."""
    size = (1, preprocessing.height, preprocessing.width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    with torch.inference_mode():
        features = network(torch.from_numpy(pixels).to(network.mean.device))
    content: bytes = features.cpu().numpy().tobytes()
    return content


class FeatureCache:
    """Features of one network, by the SHA-256 of the image file.

    Args:
        folder: Folder of the caches of all networks; None keeps the features in memory only.
        key: Key of the network from `network_key`.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder / key if folder else None
        self._features: dict[bytes, NDArray[np.float32]] = {}
        self._unwritten: dict[bytes, NDArray[np.float32]] = {}
        for shard in sorted(self._folder.glob("*.safetensors")) if self._folder else []:
            self._read(shard)

    def get(self, digest: bytes) -> NDArray[np.float32] | None:
        """Return the features of an image, (D,) float32, or None."""
        return self._features.get(digest)

    def put(self, digest: bytes, features: NDArray[np.float32]) -> None:
        """Add the features of an image, (D,) float32; full shards are written to disk."""
        self._features[digest] = features
        self._unwritten[digest] = features
        if len(self._unwritten) >= SHARD_SIZE:
            self.flush()

    def flush(self) -> None:
        """Write the features that are not on disk yet.

        Raises:
            OutputError: If the cache cannot be written.
        """
        if self._folder is None or not self._unwritten:
            return
        digests = np.frombuffer(b"".join(self._unwritten), np.uint8).reshape(-1, 32)
        arrays: dict[str, NDArray[Any]] = {
            "digests": digests,
            "features": np.stack(list(self._unwritten.values())),
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._folder / f"{uuid.uuid4().hex}.safetensors", save(arrays))
        except (OSError, OutputError) as error:
            raise OutputError(
                f"features cannot be cached: {error}; give --cache DIR, or --cache none"
            ) from error
        self._unwritten.clear()

    def _read(self, shard: Path) -> None:
        try:
            arrays = load(shard.read_bytes())
            digests, features = arrays["digests"], arrays["features"]
            if digests.shape != (len(features), 32) or features.dtype != np.float32:
                raise ValueError("not a shard of features")
        except (OSError, KeyError, ValueError, safetensors.SafetensorError):
            with contextlib.suppress(OSError):
                shard.unlink(missing_ok=True)
            return
        for digest, row in zip(digests, features, strict=True):
            self._features[digest.tobytes()] = row
