"""Features of all splits of a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import Dataset
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.cache import FeatureCache, network_key
from boats_train.features.extraction import decode_images, extract_features
from boats_train.features.inference import InferenceBackend, choose_backend, float32_backend
from boats_train.models.feature_network import FeatureNetwork

PROBE_IMAGES = 4
"""Training images on which inference backends are compared."""


@dataclass(frozen=True)
class SplitFeatures:
    """Features of the images of a split that could be decoded.

    Attributes:
        features: (N, D) float32.
        targets: (N,) int64, class indices.
        paths: Image files, N of them.
        digests: SHA-256 of the files.
        arithmetic: Name of the inference backend.
        skipped: Images that could not be decoded, each with the reason.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    paths: tuple[Path, ...]
    digests: tuple[bytes, ...]
    arithmetic: str
    skipped: tuple[tuple[Path, str], ...]


class SplitExtractor:
    """Extract the features of all splits with one network.

    Args:
        network: Feature network on the device to use.
        preprocessing: Preprocessing of the network.
        cache: Folder of the feature cache, or None.
        log: Function that takes lines about the progress.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        preprocessing: Preprocessing,
        cache: Path | None,
        log: Callable[[str], None],
    ) -> None:
        self._network, self._preprocessing = network, preprocessing
        self._cache, self._log = cache, log

    def extract(
        self, dataset: Dataset, name: str, *, float32_only: bool
    ) -> dict[str, SplitFeatures]:
        """Return the features of each split; `name` is that of the network, for the log.

        The training images can use 16-bit arithmetic. The other splits are measured, and the
        network that is exported is in float32, so they use float32.

        Raises:
            OutputError: If the cache cannot be written.
        """
        network, preprocessing = self._network, self._preprocessing
        float32 = float32_backend(network)
        chosen = float32
        if not float32_only:
            chosen = choose_probed_backend(network, preprocessing, dataset.splits["train"].paths)
            float32 = chosen if chosen.name == "float32" else float32
        note = "" if float32 is chosen else "; the other splits in float32"
        self._log(
            f"features: {name} on {network.mean.device}, "
            f"{preprocessing.height}x{preprocessing.width}, {chosen.name}: {chosen.reason}{note}"
        )
        caches = {
            backend.name: FeatureCache(
                self._cache, network_key(network, preprocessing, backend.name)
            )
            for backend in (chosen, float32)
        }
        extracted = {}
        for split_name, split in dataset.splits.items():
            backend = chosen if split_name == "train" else float32
            features = extract_features(
                backend, preprocessing, split.paths, caches[backend.name], split_name
            )
            if features.cached:
                self._log(
                    f"{split_name}: features of {features.cached} images read from {self._cache}"
                )
            for path, reason in features.skipped:
                self._log(f"skipped {path}: {reason}")
            extracted[split_name] = SplitFeatures(
                features.values,
                split.targets[features.indices],
                tuple(split.paths[index] for index in features.indices),
                features.digests,
                backend.name,
                features.skipped,
            )
        return extracted


def choose_probed_backend(
    network: FeatureNetwork, preprocessing: Preprocessing, paths: Sequence[Path]
) -> InferenceBackend:
    """Choose the fastest backend that is accurate on a few of the images."""
    indices = np.linspace(0, len(paths) - 1, PROBE_IMAGES, dtype=int)
    decoded = decode_images(preprocessing, [paths[index] for index in indices])
    probe = [pixels for _, pixels in decoded]
    return choose_backend(network, np.stack(probe)) if probe else float32_backend(network)
