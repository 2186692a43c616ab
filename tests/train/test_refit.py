from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from torch import nn

from boats_train.finetune.linear_head import to_logistic_regression
from boats_train.refit import refit_run
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import Run
from boats_train.svm.fit import fit_candidate, fit_svm
from boats_train.svm.folds import make_folds
from boats_train.svm.grid_search import SCALERS, Candidate, CrossValidation, compute_gamma

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


@pytest.fixture
def svm_run(loaded_run: Run) -> Run:
    svm = fit_svm(FEATURES, TARGETS, PATHS, tune=False, seed=3)
    return replace(loaded_run, config=SVM, estimator=svm.estimator, metrics=svm.to_json())


@pytest.fixture(params=[2, 3])
def linear_run(loaded_run: Run, request: pytest.FixtureRequest) -> Run:
    torch.manual_seed(0)
    classifier = to_logistic_regression(nn.Linear(8, request.param))
    return replace(loaded_run, config=LINEAR, estimator=classifier)


def test_refit_run__svm_on_the_same_features(svm_run: Run) -> None:
    refitted = refit_run(svm_run, FEATURES, TARGETS, PATHS)
    expected = svm_run.estimator.predict_proba(SHIFTED)
    probabilities = refitted.estimator.predict_proba(SHIFTED)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-9)
    assert refitted.metrics == svm_run.metrics


@pytest.mark.parametrize("groups", ["", "^[a-d]"])
@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_refit_run__svm_on_other_features(
    scaler: str, weight: str | None, groups: str, svm_run: Run
) -> None:
    candidate = Candidate(scaler, 0.7, 3.0, weight)
    folds = make_folds(PATHS, TARGETS, groups or None, 3)
    estimator, _ = fit_candidate(FEATURES, TARGETS, folds, candidate)
    before = estimator.predict_proba(FEATURES)
    score = CrossValidation(FEATURES, TARGETS, folds).evaluate(candidate)
    metrics = {**svm_run.metrics, "cross_validation": {"chosen": score.to_json()}}
    config = replace(SVM, groups=groups)
    run = replace(svm_run, config=config, estimator=estimator, metrics=metrics)
    refitted = refit_run(run, SHIFTED, TARGETS, PATHS)

    gamma = compute_gamma(SHIFTED, candidate)
    svc = refitted.estimator.pipeline[-1]
    assert (svc.gamma, svc.C, svc.class_weight) == (gamma, 3.0, weight)
    expected, point = fit_candidate(SHIFTED, TARGETS, folds, candidate)
    probabilities = refitted.estimator.predict_proba(FEATURES)
    np.testing.assert_array_equal(probabilities, expected.predict_proba(FEATURES))
    assert np.abs(probabilities - before).max() > 1e-3
    assert refitted.metrics == run.metrics | {"operating_point": point.to_json()}
    assert refitted.metrics != run.metrics
    np.testing.assert_array_equal(estimator.predict_proba(FEATURES), before)


def test_refit_run__linear_head_gets_a_lower_loss(linear_run: Run) -> None:
    classifier = linear_run.estimator
    targets = np.arange(60) % len(classifier.classes_)
    weight, bias = classifier.coef_.copy(), classifier.intercept_.copy()
    refitted = refit_run(linear_run, SHIFTED, targets, PATHS)
    loss = log_loss(targets, classifier.predict_proba(SHIFTED))
    assert log_loss(targets, refitted.estimator.predict_proba(SHIFTED)) < loss
    assert refitted.metrics == linear_run.metrics
    np.testing.assert_array_equal(classifier.coef_, weight)
    np.testing.assert_array_equal(classifier.intercept_, bias)


def test_refit_run__linear_head_starts_from_its_weights(linear_run: Run) -> None:
    classifier = linear_run.estimator
    run = replace(linear_run, config=replace(LINEAR, learning_rate=1e-6, epochs=1))
    targets = np.arange(60) % len(classifier.classes_)
    refitted = refit_run(run, SHIFTED, targets, PATHS).estimator
    assert 0 < np.abs(refitted.coef_ - classifier.coef_).max() < 1e-4
    np.testing.assert_allclose(refitted.intercept_, classifier.intercept_, atol=1e-4)


def test_refit_run__fine_tuned_svm_keeps_its_calibration_and_threshold(svm_run: Run) -> None:
    metrics = {**svm_run.metrics, "fine_tuning": {"blocks": "3"}}
    run = replace(svm_run, metrics=metrics)
    refitted = refit_run(run, SHIFTED, TARGETS, PATHS)
    before, after = run.estimator, refitted.estimator
    assert refitted.metrics == run.metrics
    assert after.slope_ == before.slope_
    np.testing.assert_array_equal(after.offsets_, before.offsets_)
    candidate = Candidate.from_json(run.metrics["cross_validation"]["chosen"])
    assert after.pipeline[-1].gamma == compute_gamma(SHIFTED, candidate)
    assert before.pipeline[-1].gamma != after.pipeline[-1].gamma
