"""Kill a feature extraction at several points, repeat it after each kill, and let it finish.

Usage: python kill_extraction.py IMAGES OUT

OUT/cache is the feature cache; OUT/features.npy has the features of the last child process. The
exit codes of the child processes and the number of cached features that the last one found are
printed as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from boats_runtime.preprocessing import Preprocessing
from boats_train.features import cache as feature_cache
from boats_train.features.extraction import extract_features
from boats_train.features.inference import InferenceBackend

SIZE = Preprocessing(64, 160)
SHARD_SIZE = 4

KILLS = (
    ("run", 6),  # after a shard
    ("write", 1),  # before a shard is complete
    ("write", 2),  # before the second shard is complete
)
"""Events at which a child process kills itself, counted from 1: calls of the network, writes."""


def compute_features(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return some of the pixels as features."""
    return pixels.reshape(len(pixels), -1)[:, ::997].astype(np.float32)


def extract(images: Path, out: Path, kill: tuple[str, int] | None) -> int:
    """Extract features and return the number of features that were cached."""
    counts = {"run": 0, "write": 0}

    def count(event: str) -> None:
        counts[event] += 1
        if kill == (event, counts[event]):
            os.kill(os.getpid(), signal.SIGKILL)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        count("run")
        return compute_features(pixels)

    os.fsync = lambda _: count("write")
    feature_cache.SHARD_SIZE = SHARD_SIZE
    cache = feature_cache.FeatureCache(out / "cache", "key")
    backend = InferenceBackend("float32", "", 1, run)
    features = extract_features(backend, SIZE, sorted(images.glob("*.jpg")), cache, "images")
    np.save(out / "features.npy", features.values)
    return features.cached


def run_child(images: Path, out: Path, kill: tuple[str, int] | None = None) -> int:
    """Extract features in a child process and return its exit code."""
    child = os.fork()  # imports are already done
    if child == 0:
        try:
            (out / "cached").write_text(str(extract(images, out, kill)))
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Run the child processes."""
    images, out = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    codes = [run_child(images, out, kill) for kill in KILLS]
    codes.append(run_child(images, out))
    print(json.dumps({"codes": codes, "cached": int((out / "cached").read_text())}))


if __name__ == "__main__":
    main()
