"""Identity of the files that a training starts from, in addition to its images."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from boats_data.dataset import Dataset
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import DIGESTS, find_run, read_metrics


def digest_inputs(config: TrainConfig) -> dict[str, str]:
    """Return the SHA-256 of the weights file and of the run in `--from`, where there is one.

    That of a run is the SHA-256 of its `digests.json`, which covers its other files. Its network
    started from the weights that it recorded.
    """
    files, digests = {"weights": Path(config.weights)}, {}
    if config.from_run:
        source = Path(config.from_run)
        files = {"from_run": find_run(source) / DIGESTS}
        recorded = read_metrics(source).get("inputs", {})
        digests = {name: recorded[name] for name in ("weights",) if name in recorded}
    for name, path in files.items():
        if path.is_file():
            with path.open("rb") as stream:
                digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


def training_digest(config: TrainConfig, dataset: Dataset) -> str:
    """Return a digest of the configuration and the images, which identifies a checkpoint.

    The content of an image is identified by its size and time of modification, that of the weights
    by its digest.
    """
    images = [_describe_file(path) for split in dataset.splits.values() for path in split.paths]
    settings = replace(config, image_size="").to_json()  # the resolved size counts
    content = json.dumps([settings, digest_inputs(config), images], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _describe_file(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:  # the training skips it
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns
