"""From a picture set to a run: network, features, classifier, metrics."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from boats_data.dataset import Dataset, digest_images
from boats_metrics.classification import ClassificationMetrics, compute_metrics
from boats_runtime.errors import DataError, UsageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.cache import FeatureCache, network_key
from boats_train.features.extraction import decode_images, extract_features
from boats_train.features.inference import InferenceBackend, choose_backend, float32_backend
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.linear_head import (
    ArrayDataset,
    HeadSettings,
    single_thread,
    to_logistic_regression,
    train_in_memory,
)
from boats_train.finetune.loop import Checkpoint, EpochMetrics
from boats_train.finetune.recipe import fine_tune
from boats_train.finetune.sampling import keep_readable
from boats_train.finetune.trainer import FineTuningData, FineTuningSettings
from boats_train.models.backbone import build_backbone, load_weights
from boats_train.models.feature_network import FeatureNetwork, check_network
from boats_train.models.small_cnn import FEATURES, SmallCnn
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import Run, library_versions, load_run
from boats_train.svm.fit import cross_validate, fit_svm

Log = Callable[[str], None]

PROBES = 4
"""Real photos on which a way to run the network is tried."""


@dataclass(frozen=True)
class Workspace:
    """Where and how a training works; nothing here changes what is learned.

    Attributes:
        cache: Folder of the feature cache; None keeps no features.
        folder: Where checkpoints lie until the run is written.
        resume: Whether to go on from them.
        log: Takes a line about what goes on.
        distributed: This process among those that train together.
    """

    cache: Path | None
    folder: Path
    resume: bool
    log: Log
    distributed: DistributedContext = DistributedContext()  # noqa: RUF009


@dataclass(frozen=True)
class TrainingResult:
    """What a training made.

    Attributes:
        run: Ready to be written.
        metrics: Of each split, by its name.
        targets: True class indices `(N,) int64` of each split.
        probabilities: `(N, K) float64` of each split.
        rows: Curves, a row an epoch; empty for an SVM.
        skipped: Photos that could not be decoded, each with its reason.
    """

    run: Run
    metrics: dict[str, ClassificationMetrics]
    targets: dict[str, NDArray[np.int64]]
    probabilities: dict[str, NDArray[np.float64]]
    rows: list[EpochMetrics]
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class _Fitted:
    """A classifier on features, what is recorded of it, and its curves."""

    estimator: Any
    details: dict[str, Any]
    rows: list[EpochMetrics]


@dataclass(frozen=True)
class _Extracted:
    """The features of a split, its targets and its photos, without those that can't be decoded."""

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    paths: tuple[Path, ...]
    digests: tuple[bytes, ...]


def train_model(config: TrainConfig, dataset: Dataset, workspace: Workspace) -> TrainingResult:
    """Trains what the configuration says.

    Args:
        config: The resolved configuration.
        dataset: The photos.
        workspace: Cache and checkpoints.

    Raises:
        UsageError: The backbone or its weights can't be had; `DownloadError` for ImageNet's.
        DataError: The weights are of another network, or no photo of a class can be read.
        RunError: `--from` is no run, or the loss is not a number any more.
        OutputError: The cache or a checkpoint can't be written.
    """
    started = time.perf_counter()
    network = _make_network(config, dataset, workspace.distributed)
    learned = _train_network(config, dataset, network, workspace)
    network_ready = time.perf_counter()
    extracted, skipped = _extract(config, dataset, network, workspace)
    features_ready = time.perf_counter()
    fitted = learned or _fit_classifier(config, dataset, extracted, workspace)
    done = time.perf_counter()
    probabilities = {
        name: np.asarray(fitted.estimator.predict_proba(split.features), dtype=np.float64)
        for name, split in extracted.items()
    }
    metrics = {
        name: compute_metrics(split.targets, probabilities[name].argmax(axis=1), dataset.classes)
        for name, split in extracted.items()
    }
    recorded = {
        "splits": {name: split.to_json() for name, split in metrics.items()},
        "data": {
            name: digest_images(split.digests, split.targets, dataset.classes)
            for name, split in extracted.items()
        },
        "seconds": {
            "network": network_ready - started,
            "features": features_ready - network_ready,
            "classifier": done - features_ready,
        },
        "skipped": [str(path) for path, _ in skipped],
        **fitted.details,
    }
    preprocessing = make_preprocessing(config)
    run = Run(
        config, dataset.classes, preprocessing, network.cpu(), fitted.estimator, recorded,
        library_versions(),
    )  # fmt: skip
    targets = {name: split.targets for name, split in extracted.items()}
    return TrainingResult(run, metrics, targets, probabilities, fitted.rows, tuple(skipped))


def take_part(config: TrainConfig, dataset: Dataset, workspace: Workspace) -> None:
    """Trains beside rank 0, which calls `train_model`, until the network is trained.

    Raises:
        BoatsError: As in `train_model`.
    """
    network = _make_network(config, dataset, workspace.distributed)
    _train_network(config, dataset, network, workspace)


def make_preprocessing(config: TrainConfig) -> Preprocessing:
    """Returns how a photo becomes the input of the configured network."""
    return Preprocessing(config.height, config.width)


def training_digest(config: TrainConfig, dataset: Dataset) -> str:
    """Returns a digest of what a training learns from, to find its checkpoint again."""
    photos = [str(path) for split in dataset.splits.values() for path in split.paths]
    content = json.dumps([config.to_json(), photos], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _make_network(
    config: TrainConfig, dataset: Dataset, distributed: DistributedContext
) -> FeatureNetwork:
    torch.manual_seed(config.seed)  # decides the random weights
    preprocessing = make_preprocessing(config)
    device = distributed.device
    if config.from_run:
        earlier = load_run(Path(config.from_run))
        if earlier.preprocessing != preprocessing or earlier.classes != dataset.classes:
            raise UsageError(f"--from {config.from_run}: of another image size or other classes")
        return earlier.network.to(device)
    if config.model == "cnn":
        return FeatureNetwork(SmallCnn(config.height, config.width), preprocessing).to(device)
    backbone = build_backbone(config.backbone)
    with distributed.rank_zero_first():  # which may have to download them
        load_weights(backbone, config.backbone, config.weights)
    network = FeatureNetwork(backbone, preprocessing)
    check_network(network, config.backbone, preprocessing)
    return network.to(device)


def _train_network(
    config: TrainConfig, dataset: Dataset, network: FeatureNetwork, workspace: Workspace
) -> _Fitted | None:
    """Trains the network itself with its last layer; None where only a classifier is fitted."""
    if config.model == "cnn":
        layer = nn.Linear(FEATURES, len(dataset.classes)).to(network.mean.device)
        splits = {name: _decode(dataset, config, name) for name in ("train", "valid")}
        rows = _fit(config, nn.Sequential(network, layer), splits, workspace)
        return _Fitted(to_logistic_regression(layer), {}, rows)
    if config.unfreeze != "0":
        preprocessing = make_preprocessing(config)
        distributed = workspace.distributed
        train, valid = (
            keep_readable(dataset.splits[name], preprocessing, distributed)
            for name in ("train", "valid")
        )
        _check_readable(dataset, "train", train.targets)
        _check_readable(dataset, "valid", valid.targets)
        layer, rows = fine_tune(
            network,
            FineTuningData(train, valid, dataset.classes, preprocessing),
            FineTuningSettings(
                config.learning_rate, config.epochs, config.batch_size, config.seed, config.unfreeze
            ),
            Checkpoint(workspace.folder, workspace.resume),
            distributed,
            workspace.log,
        )
        return _Fitted(to_logistic_regression(layer), {}, rows)
    return None


def _decode(dataset: Dataset, config: TrainConfig, name: str) -> ArrayDataset:
    """Decodes a split into memory."""
    split = dataset.splits[name]
    preprocessing = make_preprocessing(config)
    photos = list(decode_images(preprocessing, split.paths))
    _check_readable(dataset, name, split.targets[[index for index, _ in photos]])
    pixels = np.stack([pixels for _, pixels in photos])
    return ArrayDataset(pixels, split.targets[[index for index, _ in photos]])


def _extract(
    config: TrainConfig, dataset: Dataset, network: FeatureNetwork, workspace: Workspace
) -> tuple[dict[str, _Extracted], list[tuple[Path, str]]]:
    preprocessing = make_preprocessing(config)
    engine = _choose_engine(config, dataset, network)
    workspace.log(
        f"features: {config.backbone} on {network.mean.device}, {config.height}x{config.width}, "
        f"{engine.name}: {engine.reason}"
    )
    key = network_key(network, preprocessing, engine.name)
    cache = FeatureCache(workspace.cache, key)
    extracted: dict[str, _Extracted] = {}
    skipped: list[tuple[Path, str]] = []
    for name, split in dataset.splits.items():
        features = extract_features(engine, preprocessing, split.paths, cache, name)
        if features.remembered:
            workspace.log(
                f"{name}: {features.remembered} photos' features were in {workspace.cache}"
            )
        for path, reason in features.skipped:
            workspace.log(f"skipped {path}: {reason}")
        skipped.extend(features.skipped)
        targets = split.targets[features.kept]
        _check_readable(dataset, name, targets)
        paths = tuple(split.paths[index] for index in features.kept)
        extracted[name] = _Extracted(features.values, targets, paths, features.digests)
    return extracted, skipped


def _choose_engine(
    config: TrainConfig, dataset: Dataset, network: FeatureNetwork
) -> InferenceBackend:
    paths = dataset.splits["train"].paths
    spread = [paths[index] for index in np.linspace(0, len(paths) - 1, PROBES, dtype=int)]
    preprocessing = make_preprocessing(config)
    probe = [pixels for _, pixels in decode_images(preprocessing, spread)]
    if config.model == "cnn" or not probe:
        return float32_backend(network)
    return choose_backend(network, np.stack(probe))


def _fit_classifier(
    config: TrainConfig, dataset: Dataset, splits: dict[str, _Extracted], workspace: Workspace
) -> _Fitted:
    train, valid = splits["train"], splits["valid"]
    width = train.features.shape[1]
    workspace.log(f"{config.model}: {len(train.targets)} photos, {width} features")
    if config.model == "finetune":
        torch.manual_seed(config.seed)
        layer = nn.Linear(width, len(dataset.classes))
        labelled = {
            "train": ArrayDataset(train.features, train.targets),
            "valid": ArrayDataset(valid.features, valid.targets),
        }
        with single_thread():
            rows = _fit(config, layer, labelled, workspace)
        return _Fitted(to_logistic_regression(layer), {}, rows)
    groups = config.groups or None
    svm = fit_svm(
        train.features, train.targets, train.paths,
        tune=config.tune, groups=groups, seed=config.seed,
    )  # fmt: skip
    both = cross_validate(
        np.concatenate([train.features, valid.features]),
        np.concatenate([train.targets, valid.targets]),
        [*train.paths, *valid.paths],
        svm.searched[0].candidate,
        groups=groups,
        seed=config.seed,
    )
    return _Fitted(svm.estimator, svm.to_json() | {"cross_validation_with_valid": both}, [])


def _fit(
    config: TrainConfig, model: nn.Module, splits: dict[str, ArrayDataset], workspace: Workspace
) -> list[EpochMetrics]:
    return train_in_memory(
        model,
        splits["train"],
        splits["valid"],
        HeadSettings(config.learning_rate, config.epochs, config.batch_size, config.seed),
        Checkpoint(workspace.folder, workspace.resume),
    )


def _check_readable(dataset: Dataset, name: str, targets: NDArray[np.int64]) -> None:
    if not len(targets):
        total = len(dataset.splits[name].paths)
        raise DataError(f"{dataset.root / name}: none of its {total} photos can be read")
    lost = set(range(len(dataset.classes))) - set(targets.tolist())
    if name == "train" and lost:
        folder = dataset.root / name / dataset.classes[min(lost)]
        raise DataError(f"{folder}: none of its photos can be read")
