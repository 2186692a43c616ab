"""Refit the classifier of a run on other features of its training images.

The features of a quantized network differ slightly from the original ones; a classifier fitted on
them loses less accuracy than the original classifier.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from boats_train.finetune.linear_head import (
    ArrayDataset,
    HeadSettings,
    single_thread,
    to_logistic_regression,
    train_in_memory,
)
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run
from boats_train.svm.fit import fit_candidate, fit_pipeline
from boats_train.svm.folds import make_folds
from boats_train.svm.grid_search import Candidate


def refit_run(
    run: Run, features: NDArray[np.float32], targets: NDArray[np.int64], paths: Sequence[Path]
) -> Run:
    """Return the run with its classifier refitted on other features of its training images.

    An SVM keeps its hyperparameters, gamma as a multiple of `scale`, and gets a new calibration
    and threshold; on a fine-tuned backbone it keeps both, because that network was trained on these
    images, so that their scores would be optimistic. The training of a linear head continues from
    its weights with the hyperparameters of the run.

    Args:
        run: The run; not changed.
        features: (N, D) float32.
        targets: (N,) int64, class indices.
        paths: Image files, N of them; groups are read from their names.
    """
    config = run.config
    if isinstance(run.estimator, CalibratedSVC):
        candidate = Candidate.from_json(run.metrics["cross_validation"]["chosen"])
        if is_cross_fitted(run):
            pipeline = fit_pipeline(features, targets, candidate)
            return replace(run, estimator=run.estimator.with_pipeline(pipeline))
        folds = make_folds(paths, targets, config.groups or None, config.seed)
        svm, point = fit_candidate(features, targets, folds, candidate)
        metrics = {**run.metrics, "operating_point": point.to_json()}
        return replace(run, estimator=svm, metrics=metrics)
    layer = _to_linear_layer(run.estimator)
    dataset = ArrayDataset(features, targets)
    settings = HeadSettings(config.learning_rate, config.epochs, config.batch_size, config.seed)
    with single_thread():
        train_in_memory(layer, dataset, dataset, settings)
    return replace(run, estimator=to_logistic_regression(layer))


def is_cross_fitted(run: Run) -> bool:
    """Return whether the calibration and threshold of an SVM come from cross-fitted networks."""
    return bool(run.metrics.get("fine_tuning", {}).get("blocks", "0") != "0")


def _to_linear_layer(classifier: LogisticRegression) -> nn.Linear:
    weight, bias = classifier.coef_, classifier.intercept_
    if len(weight) == 1:  # scikit-learn stores one row for two classes
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([[0.0], bias])
    layer = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
