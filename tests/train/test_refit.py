from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from boats_data.dataset import LabeledImages, scan_dataset
from boats_train.finetune.linear_head import to_logistic_regression
from boats_train.refit import refit_linear, refit_run, refit_svm, to_linear_layer
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import Run
from boats_train.svm.fit import fit_candidate, fit_svm
from boats_train.svm.folds import make_folds
from boats_train.svm.grid_search import SCALERS, Candidate, read_candidate

SVM = TrainConfig("images", tune=False, seed=3)
LINEAR = TrainConfig("images", "finetune", learning_rate=1e-2, epochs=5, batch_size=16)
TARGETS = np.arange(60) % 3
PATHS = [Path(f"{'abcd'[number % 4]}-{number}.jpg") for number in range(60)]


def make_features(
    targets: NDArray[np.int64], width: int = 8, shift: float = 0.0
) -> NDArray[np.float32]:
    """Return overlapping clusters, one per class; a shift gives other features of the images."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(targets.max() + 1, width))
    features = centers[targets] + rng.normal(size=(len(targets), width)) + 2
    return (features + shift * rng.normal(size=features.shape)).astype(np.float32)


FEATURES, SHIFTED = make_features(TARGETS), make_features(TARGETS, shift=0.3)


def make_linear_head(classes: int, width: int = 8) -> LogisticRegression:
    torch.manual_seed(classes)
    return to_logistic_regression(nn.Linear(width, classes))


@pytest.fixture(scope="module")
def train(dataset_folder: Path) -> LabeledImages:
    """The training images of `loaded_run`."""
    return scan_dataset(dataset_folder).splits["train"]


@pytest.mark.parametrize("classes", [2, 5])
def test_to_linear_layer__same_probabilities(classes: int) -> None:
    classifier = make_linear_head(classes)
    layer = to_linear_layer(classifier)
    assert layer.weight.shape == (classes, 8)
    with torch.inference_mode():
        probabilities = torch.softmax(layer(torch.from_numpy(FEATURES)), 1).numpy()
    np.testing.assert_allclose(probabilities, classifier.predict_proba(FEATURES), atol=1e-6)


@pytest.mark.parametrize("groups", ["", "^[a-d]"])
def test_refit_svm__same_features(groups: str) -> None:
    svm = fit_svm(FEATURES, TARGETS, PATHS, tune=False, groups=groups or None, seed=3)
    config = replace(SVM, groups=groups)
    refitted, selection = refit_svm(svm.estimator, config, FEATURES, TARGETS, PATHS)
    expected = svm.estimator.predict_proba(SHIFTED)
    np.testing.assert_allclose(refitted.predict_proba(SHIFTED), expected, rtol=0, atol=1e-9)
    assert selection == svm.threshold_selection


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_refit_svm__other_features(scaler: str, weight: str | None) -> None:
    candidate = Candidate(scaler, 0.07, 1.0, 3.0, weight)
    folds = make_folds(PATHS, TARGETS, None, 3)
    estimator, _ = fit_candidate(FEATURES, TARGETS, folds, candidate)
    before = estimator.predict_proba(FEATURES)
    refitted, _ = refit_svm(estimator, SVM, SHIFTED, TARGETS, PATHS)
    assert replace(read_candidate(refitted.pipeline), gamma_scale=1.0) == candidate
    expected, _ = fit_candidate(SHIFTED, TARGETS, folds, candidate)
    np.testing.assert_array_equal(refitted.predict_proba(SHIFTED), expected.predict_proba(SHIFTED))
    assert np.abs(refitted.predict_proba(FEATURES) - before).max() > 1e-3
    np.testing.assert_array_equal(estimator.predict_proba(FEATURES), before)


@pytest.mark.parametrize("classes", [2, 3])
def test_refit_linear__lower_loss(classes: int) -> None:
    targets = np.arange(60) % classes
    classifier = make_linear_head(classes)
    weight, bias = classifier.coef_.copy(), classifier.intercept_.copy()
    refitted = refit_linear(classifier, LINEAR, SHIFTED, targets)
    loss = log_loss(targets, classifier.predict_proba(SHIFTED))
    assert log_loss(targets, refitted.predict_proba(SHIFTED)) < loss
    np.testing.assert_array_equal(classifier.coef_, weight)
    np.testing.assert_array_equal(classifier.intercept_, bias)


def test_refit_linear__starts_from_the_weights() -> None:
    classifier = make_linear_head(3)
    config = replace(LINEAR, learning_rate=1e-6, epochs=1)
    refitted = refit_linear(classifier, config, SHIFTED, TARGETS)
    assert 0 < np.abs(refitted.coef_ - classifier.coef_).max() < 1e-4
    np.testing.assert_allclose(refitted.intercept_, classifier.intercept_, atol=1e-4)


def test_refit_run__svm(loaded_run: Run, train: LabeledImages) -> None:
    features = make_features(train.targets, 512)
    metrics = deepcopy(loaded_run.metrics)
    before = loaded_run.estimator.predict_proba(features)
    run = refit_run(loaded_run, features, train.targets, train.paths)

    svm, selection = refit_svm(
        loaded_run.estimator, loaded_run.config, features, train.targets, train.paths
    )
    expected = svm.predict_proba(features)
    np.testing.assert_array_equal(run.estimator.predict_proba(features), expected)
    assert np.abs(expected - before).max() > 1e-3
    assert run.metrics == metrics | {"operating_point": selection.to_json()}
    assert run.metrics != metrics
    assert replace(run, estimator=loaded_run.estimator, metrics=metrics) == loaded_run

    assert loaded_run.metrics == metrics
    np.testing.assert_array_equal(loaded_run.estimator.predict_proba(features), before)


def test_refit_run__linear_head(loaded_run: Run, train: LabeledImages) -> None:
    features = make_features(train.targets, 512)
    classifier = make_linear_head(3, width=512)
    config = replace(LINEAR, height=64, width=160)
    run = replace(loaded_run, estimator=classifier, config=config)
    refitted = refit_run(run, features, train.targets, train.paths)
    expected = refit_linear(classifier, config, features, train.targets)
    np.testing.assert_array_equal(refitted.estimator.coef_, expected.coef_)
    assert refitted.metrics == run.metrics
    assert run.estimator is classifier
