import numpy as np
import pytest
from scipy.special import expit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import TRUSTED_TYPES


def fit_svc(
    classes: int, images: int = 120, scaled: bool = False
) -> tuple[CalibratedSVC, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    targets = np.arange(images) % classes
    features = rng.normal(0, 1, (images, 5)).astype(np.float32)
    features[:, 0] += 2 * targets
    scaler = [("scale", StandardScaler())] if scaled else []
    pipeline = Pipeline([*scaler, ("svc", SVC(break_ties=True))]).fit(features, targets)
    svc = CalibratedSVC(pipeline).fit(pipeline.decision_function(features), targets)
    return svc, features, targets


def test_predict_proba__two_classes_use_a_sigmoid() -> None:
    svc, features, _ = fit_svc(2)
    expected = expit(svc.slope_ * svc.decision_function(features) + svc.offsets_[0])
    np.testing.assert_allclose(svc.predict_proba(features)[:, 1], expected)


def test_fit__recovers_slope_and_offsets() -> None:
    rng = np.random.default_rng(0)
    decisions = rng.normal(0, 1, (40_000, 3))
    logits = 2.5 * decisions + np.array([0.4, -0.4, 0.0])
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    svc = fit_svc(3)[0].fit(decisions, targets)
    assert svc.slope_ == pytest.approx(2.5, rel=0.05)
    assert svc.offsets_[0] - svc.offsets_[1] == pytest.approx(0.8, abs=0.15)


def test_fit__class_with_two_images_is_still_predicted() -> None:
    rng = np.random.default_rng(1)
    targets = np.array([0] * 60 + [1] * 60 + [2] * 2)
    decisions = rng.normal(0, 0.3, (122, 3)) + 2 * np.eye(3)[targets]
    svc = fit_svc(3)[0].fit(decisions, targets)
    assert svc.calibrate(decisions)[-2:].argmax(axis=1).tolist() == [2, 2]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_vote_margin__smallest_pairwise_decision(classes: int, scaled: bool) -> None:
    svc, features, targets = fit_svc(classes, scaled=scaled)
    inputs = StandardScaler().fit_transform(features) if scaled else features
    pairwise = SVC(decision_function_shape="ovo").fit(inputs, targets).decision_function(inputs)
    expected = np.abs(pairwise.reshape(len(features), -1)).min(axis=1)
    before = svc.decision_function(features)
    np.testing.assert_allclose(svc.vote_margin(features), expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(svc.decision_function(features), before)


def test_calibrated_svc__stored_with_skops() -> None:
    import skops.io  # after boats_train.runs.run, which ignores its warnings

    svc, features, _ = fit_svc(3)
    content = skops.io.dumps(svc)
    assert skops.io.get_untrusted_types(data=content) == [TRUSTED_TYPES[0]]
    loaded = skops.io.loads(content, trusted=list(TRUSTED_TYPES))
    np.testing.assert_array_equal(loaded.predict_proba(features), svc.predict_proba(features))
