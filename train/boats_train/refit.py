"""A run's classifier fitted again, on other features of the photos it learned from.

A quantised network gives features that are a little off; a classifier that learned those loses less
than one that learned the original's.
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
    """Return the run with its classifier fitted again on other features of its training images.

    Args:
        run: The run; not changed.
        features: `(N, D) float32`.
        targets: Class indices `(N,) int64`.
        paths: Image files, N of them; their names may give their groups.
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
    """Fits an SVM of the same setting, its calibration and its operating point.

    Args:
        estimator: Gives the setting; it stays as it is.
        config: Of the run: groups and seed.
        features: `(N, D) float32`.
        targets: Class indices `(N,) int64`.
        paths: The photos, whose names may tell their groups.
    """
    folds = make_folds(paths, targets, config.groups or None, config.seed)
    return fit_candidate(features, targets, folds, read_candidate(estimator.pipeline))


def refit_linear(
    classifier: LogisticRegression,
    config: TrainConfig,
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
) -> LogisticRegression:
    """Trains a linear head on, from its weights, as long and at the rate that it was trained.

    Args:
        classifier: Gives the weights; it stays as it is.
        config: Of the run: rate, epochs, batch and seed.
        features: `(N, D) float32`.
        targets: Class indices `(N,) int64`.
    """
    layer = to_linear_layer(classifier)
    labelled = ArrayDataset(features, targets)
    with single_thread():
        train_in_memory(
            layer,
            labelled,
            labelled,
            HeadSettings(config.learning_rate, config.epochs, config.batch_size, config.seed),
        )
    return to_logistic_regression(layer)


def to_linear_layer(classifier: Any) -> nn.Linear:
    """Turns a linear classifier of K classes into a layer of the same probabilities."""
    weight, bias = classifier.coef_, classifier.intercept_
    if len(weight) == 1:  # scikit-learn keeps one row for two classes
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([[0.0], bias])
    layer = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
