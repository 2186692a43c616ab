"""Features on disk, found again by content: network, preprocessing and the photo's bytes.

    <cache>/<network key>/<random>.safetensors   digests (n, 32) uint8, features (n, D) float32

A shard appears by a rename, so a kill leaves no half of one; two processes write shards of
different names, and a photo that is in both is only stored twice. A shard that can't be read is
removed.
"""

import contextlib
import hashlib
import json
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load, save

from boats_runtime.errors import OutputError
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.feature_network import FeatureNetwork

SHARD = 64
"""Photos a shard, and so the most that an interruption loses."""


def default_folder() -> Path:
    """Returns where features are kept: `boats/features` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "boats" / "features"


def network_key(network: FeatureNetwork, preprocessing: Preprocessing, engine: str) -> str:
    """Returns a digest of everything but the photo that decides its features.

    Args:
        network: Its weights, and the names of its layers.
        preprocessing: Makes its input.
        engine: How it is run; other ways round differently.
    """
    digest = hashlib.sha256(str(network.backbone).encode())
    digest.update(json.dumps([asdict(preprocessing), engine], sort_keys=True).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


class FeatureCache:
    """The features of one network's photos.

    Args:
        folder: Of all networks; None keeps nothing.
        key: From `network_key`.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder / key if folder else None
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self._fresh: dict[bytes, NDArray[np.float32]] = {}
        for shard in sorted(self._folder.glob("*.safetensors")) if self._folder else []:
            self._read(shard)

    def get(self, digest: bytes) -> NDArray[np.float32] | None:
        """Returns the features `(D,) float32` of a photo by the SHA-256 of its bytes, if known."""
        return self._known.get(digest)

    def put(self, digest: bytes, features: NDArray[np.float32]) -> None:
        """Keeps a photo's features `(D,) float32`; written to disk a shard at a time."""
        self._known[digest] = features
        self._fresh[digest] = features
        if len(self._fresh) >= SHARD:
            self.flush()

    def flush(self) -> None:
        """Writes what is not on disk yet.

        Raises:
            OutputError: The cache can't be written.
        """
        if self._folder is None or not self._fresh:
            return
        arrays: dict[str, NDArray[Any]] = {
            "digests": np.stack([np.frombuffer(key, np.uint8) for key in self._fresh]),
            "features": np.stack(list(self._fresh.values())),
        }
        name = uuid.uuid4().hex
        scratch = self._folder / f".{name}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(save(arrays))
            scratch.rename(self._folder / f"{name}.safetensors")
        except OSError as error:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise OutputError(
                f"{self._folder}: features can't be kept: {error.strerror}; "
                "give --cache DIR, or --cache none to keep none"
            ) from error
        self._fresh.clear()

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
            self._known[digest.tobytes()] = row
