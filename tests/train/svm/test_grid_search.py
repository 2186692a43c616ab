import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from boats_train.svm.folds import Folds
from boats_train.svm.grid_search import (
    SCALERS,
    TOLERANCE,
    Candidate,
    CrossValidation,
    compute_gamma,
    make_scaler,
)

FOLDS = Folds(np.arange(90) // 18, tuple("abcde"), "leave-one-group-out")


def make_problem(classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    targets = np.arange(90) % classes
    noise = np.random.default_rng(0).normal(0, 1, (90, 6))
    return (noise + 1.2 * np.eye(6)[targets]).astype(np.float32), targets


@pytest.mark.parametrize("name", SCALERS)
def test_evaluate__scaler_and_gamma_of_the_training_images(name: str) -> None:
    features, targets = make_problem()
    features[:18] *= 20  # the first fold changes the statistics of all images
    candidate = Candidate(name, 0.7, 3.0, "balanced")
    score = CrossValidation(features, targets, FOLDS).evaluate(candidate)
    for fold, (train, held_out) in enumerate(FOLDS.split()):
        svc = SVC(
            C=3.0,
            gamma=compute_gamma(features[train], candidate),
            class_weight="balanced",
            break_ties=True,
        )
        scaler = make_scaler(name)
        pipeline = make_pipeline(*([scaler] if scaler else []), svc)
        known, unseen = (features[part].astype(np.float64) for part in (train, held_out))
        expected = pipeline.fit(known, targets[train]).predict(unseen)
        np.testing.assert_array_equal(score.predicted[held_out], expected)
        assert score.fold_accuracy[fold] == np.mean(expected == targets[held_out])
    assert score.mean_accuracy == pytest.approx(np.mean(score.fold_accuracy))


@pytest.mark.parametrize("name", SCALERS)
def test_compute_gamma__scale_of_scikit_learn(name: str) -> None:
    features, targets = make_problem()
    scaler = make_scaler(name)
    values = features.astype(np.float64)
    svc = SVC().fit(values if scaler is None else scaler.fit_transform(values), targets)
    assert compute_gamma(features, Candidate(name, 0.7, 1, None)) == pytest.approx(0.7 * svc._gamma)


@pytest.mark.parametrize("name", SCALERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_compute_decisions__scaler_and_gamma_of_the_training_images(
    name: str, classes: int
) -> None:
    features, targets = make_problem(classes)
    folds = Folds(np.arange(90)[::-1] % 4, tuple("abcd"), "stratified")
    features[folds.assignment == 0] *= 20
    candidate = Candidate(name, 1.4, 10.0, None)
    decisions = CrossValidation(features, targets, folds).compute_decisions(candidate)
    for train, held_out in folds.split_with_all_classes(targets):
        scaler = make_scaler(name)
        svc = SVC(C=10.0, gamma=compute_gamma(features[train], candidate), break_ties=True)
        pipeline = make_pipeline(*([scaler] if scaler else []), svc)
        pipeline.fit(features[train].astype(np.float64), targets[train])
        expected = pipeline.decision_function(features[held_out].astype(np.float64))
        # libsvm stops at 1e-3, so the last digits of a kernel change the result.
        np.testing.assert_allclose(decisions[held_out], expected, atol=5e-3)


def test_search__selected_candidate_is_first() -> None:
    scores = CrossValidation(*make_problem(), FOLDS).search()
    assert len({score.candidate for score in scores}) == len(scores) == 72
    best = max(score.mean_accuracy for score in scores)
    similar = [score for score in scores if score.mean_accuracy >= best - TOLERANCE]
    assert scores[0].macro_f1 == max(score.macro_f1 for score in similar)
    assert scores[1].mean_accuracy == max(score.mean_accuracy for score in scores[1:])
