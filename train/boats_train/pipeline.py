"""Train a run from a dataset: network, features, classifier and metrics."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from boats_data.dataset import Dataset, digest_images
from boats_data.groups import find_groups
from boats_metrics.classification import ClassificationMetrics, compute_metrics
from boats_runtime.cli.app import Log
from boats_runtime.errors import DataError, UsageError
from boats_train.features.extraction import decode_images
from boats_train.features.splits import SplitExtractor, SplitFeatures
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.linear_head import (
    ArrayDataset,
    single_thread,
    to_logistic_regression,
    train_in_memory,
)
from boats_train.finetune.loop import Checkpoint, EpochMetrics
from boats_train.finetune.recipe import fine_tune
from boats_train.finetune.sampling import keep_readable
from boats_train.finetune.svm_backbone import BackboneFineTuning, FineTunedBackbone
from boats_train.finetune.svm_fitting import fit_svm_on_backbone
from boats_train.finetune.trainer import FineTuningData, FineTuningSettings
from boats_train.models.backbone import build_backbone, load_weights, make_preprocessing
from boats_train.models.feature_network import FeatureNetwork, check_network
from boats_train.models.small_cnn import FEATURES, SmallCNN
from boats_train.models.sources import find_source
from boats_train.runs.config import TrainConfig
from boats_train.runs.inputs import digest_inputs
from boats_train.runs.run import Run, library_versions, load_run


@dataclass(frozen=True)
class Workspace:
    """Folders and processes of a training; they do not change its result.

    `cache` is the folder of the feature cache, or None; `folder` is that of the checkpoints.
    """

    cache: Path | None
    folder: Path
    resume: bool
    log: Log
    distributed: DistributedContext = DistributedContext()  # noqa: RUF009


@dataclass(frozen=True)
class TrainingResult:
    """A run, not yet written, and its predictions by the name of the split.

    Attributes:
        run: The run.
        metrics: Metrics of each split.
        targets: True class indices of each split, (N,) int64.
        probabilities: Probabilities of each split, (N, K) float64.
        history: Metrics of each epoch; empty for an SVM.
        skipped: Images that could not be decoded, each with the reason.
    """

    run: Run
    metrics: dict[str, ClassificationMetrics]
    targets: dict[str, NDArray[np.int64]]
    probabilities: dict[str, NDArray[np.float64]]
    history: list[EpochMetrics]
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class _FittedClassifier:
    estimator: Any
    details: dict[str, Any]
    history: list[EpochMetrics]


class TrainingPipeline:
    """Train a network and a classifier."""

    def __init__(self, config: TrainConfig, dataset: Dataset, workspace: Workspace) -> None:
        self._config = config
        self._dataset = dataset
        self._workspace = workspace
        self._classes = dataset.classes
        self._preprocessing = make_preprocessing(config.backbone, config.height, config.width)
        self._weights: dict[str, str] = {}  # their origin
        self._settings = FineTuningSettings(
            config.learning_rate, config.epochs, config.batch_size, config.seed, config.unfreeze
        )
        self._checkpoint = Checkpoint(workspace.folder, workspace.resume, workspace.log)
        self._skipped: list[tuple[Path, str]] = []
        self._backbone = FineTunedBackbone(None, None, [], {})

    def run(self) -> TrainingResult:
        """Train and evaluate.

        Raises:
            UsageError: If the backbone or its weights are not available; `DownloadError` if the
                ImageNet weights cannot be downloaded.
            DataError: If the weights belong to another network, or a class has no readable
                training images.
            RunError: If `--from` is not a run, or the loss is not finite.
            OutputError: If the cache or a checkpoint cannot be written.
        """
        times = [time.perf_counter()]
        network = self._make_network()
        classifier = self._train_network(network)
        times.append(time.perf_counter())
        splits = self._extract_features(network)
        times.append(time.perf_counter())
        classifier = classifier or self._fit_classifier(splits)
        times.append(time.perf_counter())
        return self._evaluate(network, classifier, splits, np.diff(times).tolist())

    def join(self) -> None:
        """Train the network together with rank 0, which calls `run`; errors are the same."""
        self._train_network(self._make_network())

    def _make_network(self) -> FeatureNetwork:
        config, device = self._config, self._workspace.distributed.device
        torch.manual_seed(config.seed)  # for random weights
        if config.from_run:
            own_code = config.backbone if find_source(config.backbone) == "custom" else ""
            source = load_run(Path(config.from_run), own_code)
            self._check_source(source)
            self._preprocessing = source.preprocessing  # which may have an older version
            self._weights = source.metrics.get("weights", {})
            return source.network.to(device)
        if config.model == "cnn":
            small_cnn = SmallCNN(config.height, config.width)
            return FeatureNetwork(small_cnn, self._preprocessing).to(device)
        size = (config.height, config.width)
        backbone = build_backbone(config.backbone, size)
        with self._workspace.distributed.rank_zero_first():  # it downloads the weights
            origin = load_weights(backbone, config.backbone, config.weights, size)
        self._weights = origin.to_json() if origin else {}
        network = FeatureNetwork(backbone, self._preprocessing)
        check_network(network, config.backbone, self._preprocessing)
        return network.to(device)

    def _check_source(self, source: Run) -> None:
        """Check that the network of another run fits the dataset and the configuration."""
        given, expected = source.preprocessing, self._preprocessing
        if (given.height, given.width) != (expected.height, expected.width):
            raise UsageError(
                f"--from {self._config.from_run}: the network of this run takes images of "
                f"{given.height}x{given.width}, not {expected.height}x{expected.width}"
            )
        if source.classes != self._classes:
            names = sorted(set(source.classes) ^ set(self._classes)) or source.classes
            raise UsageError(
                f"--from {self._config.from_run}: this run has other classes than the dataset: "
                f"{', '.join(names)}"
            )

    def _train_network(self, network: FeatureNetwork) -> _FittedClassifier | None:
        """Train the network and its last layer; return None if the network is frozen."""
        config = self._config
        if config.model == "cnn":
            layer = nn.Linear(FEATURES, len(self._classes)).to(network.mean.device)
            model = nn.Sequential(network, layer)
            train, valid = self._decode("train"), self._decode("valid")
            history = train_in_memory(model, train, valid, self._settings, self._checkpoint)
        elif config.model == "svm":
            if config.unfreeze != "0":
                self._backbone = self._fine_tune_for_svm(network)
            return None
        elif config.unfreeze != "0":
            layer, history = self._fine_tune(network)
        else:
            return None
        return _FittedClassifier(to_logistic_regression(layer), {}, history)

    def _fine_tune_for_svm(self, network: FeatureNetwork) -> FineTunedBackbone:
        workspace = self._workspace
        fine_tuning = BackboneFineTuning(
            self._config,
            self._dataset,
            self._preprocessing,
            self._checkpoint,
            workspace.distributed,
            self._check_readable,
        )
        return fine_tuning.run(network)

    def _fine_tune(self, network: FeatureNetwork) -> tuple[nn.Linear, list[EpochMetrics]]:
        workspace, splits = self._workspace, self._dataset.splits
        train, valid = (
            keep_readable(splits[name], self._preprocessing, workspace.distributed)
            for name in ("train", "valid")
        )
        self._check_readable("train", train.targets)
        self._check_readable("valid", valid.targets)
        data = FineTuningData(train, valid, self._classes, self._preprocessing)
        return fine_tune(
            network, data, self._settings, self._checkpoint, workspace.distributed, workspace.log
        )

    def _decode(self, name: str) -> ArrayDataset:
        split = self._dataset.splits[name]
        decoded = list(decode_images(self._preprocessing, split.paths))
        targets = split.targets[[index for index, _ in decoded]]
        self._check_readable(name, targets)
        return ArrayDataset(np.stack([pixels for _, pixels in decoded]), targets)

    def _extract_features(self, network: FeatureNetwork) -> dict[str, SplitFeatures]:
        config, workspace = self._config, self._workspace
        extractor = SplitExtractor(network, self._preprocessing, workspace.cache, workspace.log)
        extracted = extractor.extract(
            self._dataset, config.backbone, float32_only=config.model == "cnn"
        )
        self._skipped = [item for split in extracted.values() for item in split.skipped]
        for name, split in extracted.items():
            self._check_readable(name, split.targets)
        return extracted

    def _fit_classifier(self, splits: dict[str, SplitFeatures]) -> _FittedClassifier:
        config, train, valid = self._config, splits["train"], splits["valid"]
        count, width = train.features.shape
        self._workspace.log(f"{config.model}: {count} images, {width} features")
        if config.model == "finetune":
            torch.manual_seed(config.seed)
            layer = nn.Linear(width, len(self._classes))
            with single_thread():
                history = train_in_memory(
                    layer,
                    ArrayDataset(train.features, train.targets),
                    ArrayDataset(valid.features, valid.targets),
                    self._settings,
                    self._checkpoint,
                )
            return _FittedClassifier(to_logistic_regression(layer), {}, history)
        estimator, details = fit_svm_on_backbone(config, self._backbone, train, valid)
        return _FittedClassifier(estimator, details, self._backbone.history)

    def _evaluate(
        self,
        network: FeatureNetwork,
        classifier: _FittedClassifier,
        splits: dict[str, SplitFeatures],
        seconds: list[float],
    ) -> TrainingResult:
        probabilities: dict[str, NDArray[np.float64]] = {}
        metrics = {}
        for name, split in splits.items():
            scores = classifier.estimator.predict_proba(split.features)
            probabilities[name] = np.asarray(scores, dtype=np.float64)
            predicted, groups = scores.argmax(axis=1), self._find_groups(split.paths)
            metrics[name] = compute_metrics(split.targets, predicted, self._classes, groups=groups)
        recorded = {
            "splits": {name: split.to_json() for name, split in metrics.items()},
            "data": {
                name: digest_images(split.digests, split.targets, self._classes)
                for name, split in splits.items()
            },
            "features": {name: split.arithmetic for name, split in splits.items()},
            "inputs": digest_inputs(self._config),
            **({"weights": self._weights} if self._weights else {}),
            "seconds": dict(zip(("network", "features", "classifier"), seconds, strict=True)),
            "skipped": [str(path) for path, _ in self._skipped],
            **classifier.details,
        }
        run = Run(
            self._config, self._classes, self._preprocessing, network.cpu(), classifier.estimator,
            recorded, library_versions(self._config.backbone),
        )  # fmt: skip
        targets = {name: split.targets for name, split in splits.items()}
        return TrainingResult(
            run, metrics, targets, probabilities, classifier.history, tuple(self._skipped)
        )

    def _find_groups(self, paths: tuple[Path, ...]) -> list[str] | None:
        try:
            return find_groups(paths, self._config.groups or None)
        except UsageError:  # `--groups` need not match the images of a split that is only measured
            return None

    def _check_readable(self, name: str, targets: NDArray[np.int64]) -> None:
        folder = self._dataset.root / name
        if not len(targets):
            total = len(self._dataset.splits[name].paths)
            raise DataError(f"{folder}: none of the {total} images can be read")
        missing = set(range(len(self._classes))) - set(targets.tolist())
        if name == "train" and missing:
            folder /= self._classes[min(missing)]
            raise DataError(f"{folder}: none of the images can be read")
