"""A run's classifier fitted again, on other features of the photos it learned from.

A quantised network gives features that are a little off; a classifier that learned those loses less
than one that learned the original's.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from boats_train.adam import Labelled, as_classifier, fit_adam, one_thread
from boats_train.calibration import CalibratedSvm
from boats_train.config import TrainConfig
from boats_train.folds import make_folds
from boats_train.kernel_search import read_candidate
from boats_train.operating_point import OperatingPoint
from boats_train.svm import fit_candidate


def refit_svm(
    estimator: CalibratedSvm,
    config: TrainConfig,
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    paths: Sequence[Path],
) -> tuple[CalibratedSvm, OperatingPoint]:
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
    layer = as_layer(classifier)
    labelled = Labelled(features, targets)
    with tempfile.TemporaryDirectory() as passing, one_thread():
        fit_adam(
            layer,
            labelled,
            labelled,
            rate=config.rate,
            epochs=config.epochs,
            batch=config.batch,
            seed=config.seed,
            folder=Path(passing),
            resume=False,
        )
    return as_classifier(layer)


def as_layer(classifier: Any) -> nn.Linear:
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
