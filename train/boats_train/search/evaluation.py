"""Accuracy of candidates: features are extracted once, and an SVM is cross-validated by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_data.dataset import Dataset, digest_images
from boats_runtime.errors import DataError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.cache import FeatureCache
from boats_train.features.extraction import ExtractedFeatures, extract_features
from boats_train.features.inference import InferenceBackend
from boats_train.models.feature_network import FeatureNetwork
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import Run, library_versions
from boats_train.search.frontier import Accuracy
from boats_train.svm.fit import fit_candidate, subsample
from boats_train.svm.folds import make_folds
from boats_train.svm.grid_search import SCALERS, Candidate, CandidateScore, CrossValidation

SUBSET_IMAGES = 1000
"""Images on which each candidate is evaluated first."""

GRID = tuple(
    Candidate(scaler, gamma_factor, cost, None)
    for scaler, gamma_factor, cost in product(SCALERS, (0.7, 1.4), (3.0, 10.0))
)
"""Hyperparameters tried on the subset; the training of the chosen candidate tries more."""

FINALISTS = 2
"""Hyperparameters of the subset that are tried on all images."""


@dataclass(frozen=True)
class TrainingFeatures:
    """Features of the training images that can be decoded.

    Attributes:
        extracted: Features and digests.
        targets: Class indices, (M,) int64.
        paths: Image files, M of them.
    """

    extracted: ExtractedFeatures
    targets: NDArray[np.int64]
    paths: tuple[Path, ...]


class Evaluator:
    """Cross-validation of SVMs on the features of training images.

    Args:
        dataset: Dataset; only its training images are used.
        config: Configuration with the groups and the seed.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig) -> None:
        self._root, self._classes = dataset.root / "train", dataset.classes
        self._config = config
        self._images = dataset.splits["train"]
        targets, paths = self._images.targets, self._images.paths
        self.folds = make_folds(paths, targets, config.groups or None, config.seed)
        self.subset = subsample(targets, self.folds, config.seed, SUBSET_IMAGES)

    def extract(
        self,
        backend: InferenceBackend,
        preprocessing: Preprocessing,
        cache: FeatureCache,
        indices: NDArray[np.int64] | None = None,
    ) -> TrainingFeatures:
        """Extract the features of all training images, or of those with the given indices.

        Raises:
            DataError: If no image of a class can be read.
            OutputError: If the cache cannot be written.
        """
        images = self._images
        if indices is None:
            indices = np.arange(len(images.paths))
        paths = [images.paths[index] for index in indices]
        extracted = extract_features(backend, preprocessing, paths, cache, "features")
        readable = indices[extracted.indices]
        targets = images.targets[readable]
        missing = set(range(len(self._classes))) - set(targets.tolist())
        if missing:
            folder = self._root / self._classes[min(missing)]
            raise DataError(f"{folder}: none of the images can be read")
        return TrainingFeatures(extracted, targets, tuple(images.paths[i] for i in readable))

    def search(
        self, features: TrainingFeatures, candidates: Sequence[Candidate]
    ) -> list[CandidateScore]:
        """Cross-validate hyperparameters; the first of the result is the best."""
        folds = make_folds(
            features.paths, features.targets, self._config.groups or None, self._config.seed
        )
        cross_validation = CrossValidation(features.extracted.values, features.targets, folds)
        return cross_validation.search(candidates)

    def fit_run(
        self, features: TrainingFeatures, candidate: Candidate, network: FeatureNetwork,
        config: TrainConfig, preprocessing: Preprocessing,
    ) -> Run:  # fmt: skip
        """Fit an SVM with given hyperparameters and return a run to export."""
        values, targets, classes = features.extracted.values, features.targets, self._classes
        folds = make_folds(features.paths, targets, config.groups or None, config.seed)
        estimator, point = fit_candidate(values, targets, folds, candidate)
        metrics = {
            "data": {"train": digest_images(features.extracted.digests, targets, classes)},
            "cross_validation": {"chosen": candidate.to_json()},  # for the refit of int8
            "operating_point": point.to_json(),
        }
        return Run(
            config, classes, preprocessing, network.cpu(), estimator, metrics,
            library_versions(config.backbone),
        )  # fmt: skip


def summarize_score(score: CandidateScore) -> Accuracy:
    """Return the accuracy on the held-out groups of a score."""
    return Accuracy(score.fold_accuracy, score.macro_f1, len(score.predicted))
