"""Refit the classifier of a run on other features of its training images.

The features of a quantized network differ slightly from the original ones; a classifier fitted on
them loses less accuracy than the original classifier.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from boats_metrics.selective import ThresholdSelection
from boats_train.finetune.linear_head import (
    ArrayDataset,
    HeadSettings,
    single_thread,
    to_logistic_regression,
    train_in_memory,
)
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import Run
from boats_train.svm.fit import fit_candidate
from boats_train.svm.folds import make_folds
from boats_train.svm.grid_search import read_candidate


def refit_run(
    run: Run, features: NDArray[np.float32], targets: NDArray[np.int64], paths: Sequence[Path]
) -> Run:
    """Return the run with its classifier refitted on other features of its training images.

    Args:
        run: The run; not changed.
        features: (N, D) float32.
        targets: (N,) int64, class indices.
        paths: Image files, N of them; groups are read from their names.
    """
    if not isinstance(run.estimator, CalibratedSVC):
        return replace(run, estimator=refit_linear(run.estimator, run.config, features, targets))
    svm, selection = refit_svm(run.estimator, run.config, features, targets, paths)
    metrics = {**run.metrics, "operating_point": selection.to_json()}
    return replace(run, estimator=svm, metrics=metrics)


def refit_svm(
    estimator: CalibratedSVC,
    config: TrainConfig,
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    paths: Sequence[Path],
) -> tuple[CalibratedSVC, ThresholdSelection]:
    """Fit an SVM with the same hyperparameters, its calibration and its threshold.

    Args:
        estimator: SVM with the hyperparameters; not changed.
        config: Configuration of the run with groups and seed.
        features: (N, D) float32.
        targets: (N,) int64, class indices.
        paths: Image files, N of them; groups are read from their names.
    """
    folds = make_folds(paths, targets, config.groups or None, config.seed)
    return fit_candidate(features, targets, folds, read_candidate(estimator.pipeline))


def refit_linear(
    classifier: LogisticRegression,
    config: TrainConfig,
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
) -> LogisticRegression:
    """Continue the training of a linear head with the hyperparameters of the run.

    Args:
        classifier: Linear head with the initial weights; not changed.
        config: Configuration of the run.
        features: (N, D) float32.
        targets: (N,) int64, class indices.
    """
    layer = to_linear_layer(classifier)
    dataset = ArrayDataset(features, targets)
    with single_thread():
        train_in_memory(
            layer,
            dataset,
            dataset,
            HeadSettings(config.learning_rate, config.epochs, config.batch_size, config.seed),
        )
    return to_logistic_regression(layer)


def to_linear_layer(classifier: Any) -> nn.Linear:
    """Convert a linear classifier to a layer with the same probabilities, D to K."""
    weight, bias = classifier.coef_, classifier.intercept_
    if len(weight) == 1:  # scikit-learn stores one row for two classes
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([[0.0], bias])
    layer = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
