import numpy as np
import pytest
import skops.io
from scipy.special import expit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import TRUSTED_TYPES


def fitted(
    classes: int, photos: int = 120, scaled: bool = False
) -> tuple[CalibratedSVC, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    targets = np.arange(photos) % classes
    features = rng.normal(0, 1, (photos, 5)).astype(np.float32)
    features[:, 0] += 2 * targets
    scaler = [("scale", StandardScaler())] if scaled else []
    pipeline = Pipeline([*scaler, ("svc", SVC(break_ties=True))]).fit(features, targets)
    svm = CalibratedSVC(pipeline).fit(pipeline.decision_function(features), targets)
    return svm, features, targets


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_predict_proba__is_a_distribution_that_predict_follows(classes: int) -> None:
    svm, features, _ = fitted(classes)
    probabilities = svm.predict_proba(features)
    assert probabilities.shape == (len(features), classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert np.array_equal(svm.predict(features), probabilities.argmax(axis=1))


def test_calibrate__two_classes_are_platts_sigmoid() -> None:
    svm, features, _ = fitted(2)
    scores = svm.decision_function(features)
    expected = expit(svm.slope_ * scores + svm.offsets_[0])
    np.testing.assert_allclose(svm.predict_proba(features)[:, 1], expected)


def test_fit__finds_the_slope_and_offsets_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    decisions = rng.normal(0, 1, (40_000, 3))
    logits = 2.5 * decisions + np.array([0.4, -0.4, 0.0])
    noise = rng.gumbel(size=logits.shape)
    svm = fitted(3)[0]
    svm.fit(decisions, (logits + noise).argmax(axis=1))
    assert svm.slope_ == pytest.approx(2.5, rel=0.05)
    assert svm.offsets_[0] - svm.offsets_[1] == pytest.approx(0.8, abs=0.15)


def test_fit__a_class_with_two_photos_survives() -> None:
    rng = np.random.default_rng(1)
    targets = np.array([0] * 60 + [1] * 60 + [2] * 2)
    decisions = rng.normal(0, 0.3, (122, 3)) + 2 * np.eye(3)[targets]
    svm = fitted(3)[0].fit(decisions, targets)
    assert svm.calibrate(decisions)[-2:].argmax(axis=1).tolist() == [2, 2]


@pytest.mark.parametrize("scaled", [False, True])
def test_vote_margin__is_the_nearest_pairwise_decision(scaled: bool) -> None:
    svm, features, targets = fitted(3, scaled=scaled)
    inputs = StandardScaler().fit_transform(features) if scaled else features
    pairwise = SVC(decision_function_shape="ovo").fit(inputs, targets)
    expected = np.abs(pairwise.decision_function(inputs)).min(axis=1)
    before = svm.decision_function(features)
    np.testing.assert_allclose(svm.vote_margin(features), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(svm.decision_function(features), before)


@pytest.mark.parametrize("scaled", [False, True])
def test_vote_margin__of_two_classes_is_the_decisions_size(scaled: bool) -> None:
    svm, features, _ = fitted(2, scaled=scaled)
    margins = svm.vote_margin(features)
    assert margins.shape == (len(features),)
    np.testing.assert_allclose(margins, np.abs(svm.decision_function(features)))
    assert np.any(svm.decision_function(features) < 0)


def test_calibrated_svm__survives_skops() -> None:
    svm, features, _ = fitted(3)
    content = skops.io.dumps(svm)
    assert set(skops.io.get_untrusted_types(data=content)) == set(TRUSTED_TYPES)
    again = skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    np.testing.assert_array_equal(again.predict_proba(features), svm.predict_proba(features))
