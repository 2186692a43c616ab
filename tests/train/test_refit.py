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
from boats_train.refit import refit_linear, refit_svm, to_linear_layer
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import Run
from boats_train.svm.fit import fit_candidate, fit_svm
from boats_train.svm.folds import make_folds
from boats_train.svm.grid_search import SCALINGS, Candidate, read_candidate

SVM = TrainConfig("photos", tune=False, seed=3)
LINEAR = TrainConfig("photos", "finetune", learning_rate=1e-2, epochs=5, batch_size=16)
TARGETS = np.arange(60) % 3
PATHS = [Path(f"{'abcd'[number % 4]}-{number}.jpg") for number in range(60)]


def make_features(
    targets: NDArray[np.int64], width: int = 8, shift: float = 0.0
) -> NDArray[np.float32]:
    """Clouds that overlap, one a class; shifted, other features of the same photos."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(targets.max() + 1, width))
    features = centres[targets] + rng.normal(size=(len(targets), width)) + 2
    return (features + shift * rng.normal(size=features.shape)).astype(np.float32)


FEATURES, OTHERS = make_features(TARGETS), make_features(TARGETS, shift=0.3)


def setting(candidate: Candidate) -> Candidate:
    """Leaves out what a fitted pipeline does not tell."""
    return replace(candidate, gamma_factor=1.0)


def trained(classes: int) -> LogisticRegression:
    """A linear head of random weights."""
    torch.manual_seed(classes)
    return to_logistic_regression(nn.Linear(8, classes))


@pytest.fixture(scope="module")
def learned(dataset_folder: Path) -> LabeledImages:
    """The photos that `loaded_run` learned from."""
    return scan_dataset(dataset_folder).splits["train"]


# --- to_linear_layer


@pytest.mark.parametrize("classes", [2, 5])
def test_as_layer__of_the_same_probabilities(classes: int) -> None:
    classifier = trained(classes)
    layer = to_linear_layer(classifier)
    assert layer.weight.shape == (classes, 8)
    with torch.inference_mode():
        probabilities = torch.softmax(layer(torch.from_numpy(FEATURES)), 1).numpy()
    np.testing.assert_allclose(probabilities, classifier.predict_proba(FEATURES), atol=1e-6)


# --- refit_svm


@pytest.mark.parametrize("groups", ["", "^[a-d]"])
def test_refit_svm__same_features_give_the_same(groups: str) -> None:
    fitted = fit_svm(FEATURES, TARGETS, PATHS, tune=False, groups=groups or None, seed=3)
    config = replace(SVM, groups=groups)
    again, point = refit_svm(fitted.estimator, config, FEATURES, TARGETS, PATHS)
    assert again is not fitted.estimator
    expected = fitted.estimator.predict_proba(OTHERS)
    np.testing.assert_allclose(again.predict_proba(OTHERS), expected, rtol=0, atol=1e-9)
    assert point == fitted.operating_point


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("weight", [None, "balanced"])
def test_refit_svm__keeps_the_setting(scaling: str, weight: str | None) -> None:
    candidate = Candidate(scaling, 0.07, 1.0, 3.0, weight)
    folds = make_folds(PATHS, TARGETS, None, 3)
    estimator, _ = fit_candidate(FEATURES, TARGETS, folds, candidate)
    again, _ = refit_svm(estimator, SVM, OTHERS, TARGETS, PATHS)
    assert setting(read_candidate(again.pipeline)) == candidate
    expected, _ = fit_candidate(OTHERS, TARGETS, folds, candidate)
    np.testing.assert_array_equal(again.predict_proba(OTHERS), expected.predict_proba(OTHERS))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_refit_svm__leaves_the_old_one(scaling: str) -> None:
    folds = make_folds(PATHS, TARGETS, None, 3)
    candidate = Candidate(scaling, 0.07, 1.0, 3.0, None)
    estimator, _ = fit_candidate(FEATURES, TARGETS, folds, candidate)
    before = estimator.predict_proba(FEATURES)
    again, _ = refit_svm(estimator, SVM, OTHERS, TARGETS, PATHS)
    np.testing.assert_array_equal(estimator.predict_proba(FEATURES), before)
    assert np.abs(again.predict_proba(FEATURES) - before).max() > 1e-3


# --- refit_linear


@pytest.mark.parametrize("classes", [2, 3])
def test_refit_linear__learns_and_leaves_the_old_one(classes: int) -> None:
    targets = np.arange(60) % classes
    old = trained(classes)
    weight, bias = old.coef_.copy(), old.intercept_.copy()
    new = refit_linear(old, LINEAR, OTHERS, targets)
    np.testing.assert_array_equal(old.coef_, weight)
    np.testing.assert_array_equal(old.intercept_, bias)
    losses = [log_loss(targets, each.predict_proba(OTHERS)) for each in (old, new)]
    assert losses[1] < losses[0]


def test_refit_linear__goes_on_from_the_weights() -> None:
    old = trained(3)
    new = refit_linear(old, replace(LINEAR, learning_rate=1e-6, epochs=1), OTHERS, TARGETS)
    assert 0 < np.abs(new.coef_ - old.coef_).max() < 1e-4
    np.testing.assert_allclose(new.intercept_, old.intercept_, atol=1e-4)


# --- Run.refit


def test_refit__svm_with_its_operating_point(loaded_run: Run, learned: LabeledImages) -> None:
    features = make_features(learned.targets, 512)
    metrics = deepcopy(loaded_run.metrics)
    before = loaded_run.estimator.predict_proba(features)
    run = loaded_run.refit(features, learned.targets, learned.paths)

    svm, point = refit_svm(
        loaded_run.estimator, loaded_run.config, features, learned.targets, learned.paths
    )
    expected = svm.predict_proba(features)
    np.testing.assert_array_equal(run.estimator.predict_proba(features), expected)
    assert run.metrics == metrics | {"operating_point": point.to_json()}
    assert run.metrics["operating_point"]["curve"] != metrics["operating_point"]["curve"]
    assert replace(run, estimator=None, metrics={}) == replace(
        loaded_run, estimator=None, metrics={}
    )

    assert loaded_run.metrics == metrics
    np.testing.assert_array_equal(loaded_run.estimator.predict_proba(features), before)
    assert np.abs(expected - before).max() > 1e-3


def test_refit__linear_head(loaded_run: Run, learned: LabeledImages) -> None:
    features = make_features(learned.targets, 512)
    torch.manual_seed(0)
    head = to_logistic_regression(nn.Linear(512, 3))
    old = replace(loaded_run, estimator=head, config=replace(LINEAR, height=64, width=160))
    new = old.refit(features, learned.targets, learned.paths)
    expected = refit_linear(head, old.config, features, learned.targets)
    np.testing.assert_array_equal(new.estimator.coef_, expected.coef_)
    assert new.metrics == old.metrics
    assert old.estimator is head
