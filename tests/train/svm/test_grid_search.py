import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from boats_train.svm.folds import Folds
from boats_train.svm.grid_search import (
    Candidate,
    held_out_decisions,
    make_scaler,
    plain_candidate,
    score,
    search,
)


def problem(classes: int = 3) -> tuple[np.ndarray, np.ndarray, Folds]:
    rng = np.random.default_rng(0)
    targets = np.arange(90) % classes
    features = (rng.normal(0, 1, (90, 6)) + 1.2 * np.eye(6)[targets]).astype(np.float32)
    return features, targets, Folds(np.arange(90) // 18, tuple("abcde"), "leave-one-group-out")


@pytest.mark.parametrize("scaling", ["none", "l2", "standard"])
def test_score__equals_scikit_learn_fold_by_fold(scaling: str) -> None:
    features, targets, folds = problem()
    candidate = Candidate(scaling, 0.2, 1.0, 3.0, "balanced")
    scored = score(features, targets, folds, candidate, threads=2)
    scaler = make_scaler(scaling)
    scaled = features if scaler is None else scaler.fit_transform(features.astype(np.float64))
    for fold, (learned, held) in enumerate(folds.strict()):
        svc = SVC(C=3.0, gamma=0.2, class_weight="balanced", break_ties=True)
        expected = svc.fit(scaled[learned], targets[learned]).predict(scaled[held])
        assert np.array_equal(scored.predicted[held], expected)
        assert scored.fold_accuracy[fold] == np.mean(expected == targets[held])
    assert scored.mean_accuracy == pytest.approx(np.mean(scored.fold_accuracy))


def test_plain_candidate__is_scikit_learns_default() -> None:
    features, targets, _ = problem()
    svc = SVC().fit(features.astype(np.float64), targets)
    candidate = plain_candidate(features)
    assert candidate.gamma == pytest.approx(svc._gamma)
    assert (candidate.scaling, candidate.cost, candidate.class_weight) == ("none", svc.C, None)


@pytest.mark.parametrize("classes", [2, 3])
def test_held_out_decisions__equal_scikit_learn_in_the_photos_order(classes: int) -> None:
    features, targets, _ = problem(classes)
    folds = Folds(np.arange(90)[::-1] % 4, tuple("abcd"), "stratified")
    candidate = Candidate("l2", 1.5, 1.0, 10.0, None)
    decisions = held_out_decisions(features, targets, folds, candidate, threads=2)
    for learned, held in folds.with_every_class(targets):
        pipeline = make_pipeline(make_scaler("l2"), SVC(C=10.0, gamma=1.5, break_ties=True))
        pipeline.fit(features[learned].astype(np.float64), targets[learned])
        expected = pipeline.decision_function(features[held].astype(np.float64))
        # libsvm stops at 1e-3: the last digits of a kernel decide where.
        np.testing.assert_allclose(decisions[held], expected, atol=5e-3)


def test_search__tries_the_whole_grid_and_puts_the_chosen_first() -> None:
    features, targets, folds = problem()
    totals = []

    def progress(rows, total):  # type: ignore[no-untyped-def]
        totals.append(total)
        yield from rows

    rows = search(features, targets, folds, 2, progress)
    assert totals == [len(rows)] == [72]
    best = max(row.mean_accuracy for row in rows)
    near = [row for row in rows if row.mean_accuracy >= best - 0.002]
    assert rows[0].macro_f1 == max(row.macro_f1 for row in near)
    assert len({row.candidate for row in rows}) == 72
