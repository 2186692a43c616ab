"""From a picture set to a run: features, classifier, metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from boats_runtime.errors import DataError
from boats_runtime.preprocess import Preprocessing
from numpy.typing import NDArray

from boats_train.backbone import build_backbone, load_weights
from boats_train.config import TrainConfig
from boats_train.dataset import Dataset, Split
from boats_train.features import extract_features
from boats_train.metrics import SplitMetrics, measure
from boats_train.network import FeatureNetwork, check_network
from boats_train.run import Run, library_versions
from boats_train.svm import fit_svm

Log = Callable[[str], None]


@dataclass(frozen=True)
class TrainingResult:
    """What a training made.

    Attributes:
        run: Ready to be written.
        metrics: Of each split, by its name.
        skipped: Photos that could not be decoded, each with its reason.
    """

    run: Run
    metrics: dict[str, SplitMetrics]
    skipped: tuple[tuple[Path, str], ...]


def train_model(config: TrainConfig, dataset: Dataset, log: Log) -> TrainingResult:
    """Extracts features and fits the classifier.

    Args:
        config: The resolved configuration.
        dataset: The photos.
        log: Takes a line about what goes on.

    Raises:
        UsageError: The backbone or its weights can't be had; `DownloadError` for ImageNet's.
        DataError: The weights are of another network, or no photo of a class can be read.
    """
    preprocessing = Preprocessing(config.height, config.width)
    network = _make_network(config, preprocessing)
    log(f"features: {config.backbone} on {network.mean.device}, {config.height}x{config.width}")
    features: dict[str, NDArray[np.float32]] = {}
    targets: dict[str, NDArray[np.int64]] = {}
    skipped: list[tuple[Path, str]] = []
    for name, split in dataset.splits.items():
        extracted = extract_features(network, preprocessing, split.paths, name)
        for path, reason in extracted.skipped:
            log(f"skipped {path}: {reason}")
        skipped.extend(extracted.skipped)
        features[name], targets[name] = extracted.values, split.targets[extracted.kept]
        _check_readable(dataset, name, split, targets[name])
    log(f"svm: {len(targets['train'])} photos, {features['train'].shape[1]} features")
    estimator = fit_svm(features["train"], targets["train"], config.seed)
    metrics = {
        name: measure(targets[name], estimator.predict(features[name]), dataset.classes)
        for name in features
    }
    recorded = {
        "splits": {name: split.to_json() for name, split in metrics.items()},
        "skipped": [str(path) for path, _ in skipped],
    }
    run = Run(
        config, dataset.classes, preprocessing, network.cpu(), estimator, recorded,
        library_versions(),
    )  # fmt: skip
    return TrainingResult(run, metrics, tuple(skipped))


def _make_network(config: TrainConfig, preprocessing: Preprocessing) -> FeatureNetwork:
    torch.manual_seed(config.seed)  # decides the random weights of --weights none
    backbone = build_backbone(config.backbone)
    load_weights(backbone, config.backbone, config.weights)
    network = FeatureNetwork(backbone, preprocessing)
    check_network(network, config.backbone, preprocessing)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # The pixels come in NHWC, which is this layout already; convolutions are quicker in it.
    return network.to(torch.device(device)).to(memory_format=torch.channels_last)


def _check_readable(dataset: Dataset, name: str, split: Split, targets: NDArray[np.int64]) -> None:
    if not len(targets):
        raise DataError(f"{dataset.root / name}: none of its {len(split.paths)} photos can be read")
    lost = set(range(len(dataset.classes))) - set(targets.tolist())
    if name == "train" and lost:
        folder = dataset.root / name / dataset.classes[min(lost)]
        raise DataError(f"{folder}: none of its photos can be read")
