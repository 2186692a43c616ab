"""The graph of the SVM against scikit-learn in float64, in ONNX Runtime."""

from itertools import combinations
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from boats_export.classifier_graph import export_classifier
from boats_export.svm_graph import compute_pair_weights, interleave
from boats_train.models.calibrated_svc import CalibratedSVC
from support.classifiers import (
    WIDTH,
    Array,
    assert_parity,
    fit_calibrated_svc,
    make_features,
    run_graph,
)

SETTINGS: list[dict[str, Any]] = [
    {"gamma": "auto"},
    {"gamma": 0.5, "C": 10.0},
    {"class_weight": "balanced"},
]


@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_convert_svc__probabilities(classes: int, settings: dict[str, Any], fp16: bool) -> None:
    features, targets = make_features(classes, 240)
    if fp16:  # vectors fitted on float16 features are stored without loss
        features = features.astype(np.float16).astype(np.float32)
    estimator = fit_calibrated_svc(features, targets, **settings)
    assert_parity(estimator, make_features(classes, 60, seed=1)[0], fp16=fp16)


def find_support_vectors(model: onnx.ModelProto) -> onnx.TensorProto:
    (vectors,) = (tensor for tensor in model.graph.initializer if "support_vectors" in tensor.name)
    return vectors


def test_convert_svc__float16_vectors_take_half_the_space() -> None:
    estimator = fit_calibrated_svc(*make_features(5, 240))
    fp32, fp16 = (
        find_support_vectors(export_classifier(estimator, WIDTH, fp16=fp16))
        for fp16 in (False, True)
    )
    assert fp32.dims == fp16.dims == [len(estimator.pipeline[-1].support_vectors_), WIDTH]
    assert len(fp32.raw_data) == 2 * len(fp16.raw_data)


# Features on which float32 may fail.


@pytest.mark.parametrize("offset", [100, 10_000])
def test_convert_svc__features_far_from_zero(offset: float) -> None:
    """An offset of all images must not drown their differences."""
    features, targets = make_features(5, 240)
    estimator = fit_calibrated_svc(features + np.float32(offset), targets, gamma=0.05)
    assert_parity(estimator, make_features(5, 60, seed=1)[0] + np.float32(offset))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_convert_svc__tiny_and_huge_features(scale: float) -> None:
    features, targets = make_features(5, 240)
    estimator = fit_calibrated_svc(features * np.float32(scale), targets)
    assert_parity(estimator, make_features(5, 60, seed=1)[0] * np.float32(scale))


@pytest.mark.parametrize("factor", [1e3, 1e10, 1e20, 1e30])
def test_convert_svc__features_far_from_all_vectors(factor: float) -> None:
    """The kernel is 0, even where the squares overflow in float32."""
    estimator = fit_calibrated_svc(*make_features(5, 240))
    assert_parity(estimator, make_features(5, 20, seed=1)[0] * np.float32(factor))


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4])
@pytest.mark.parametrize(("gamma", "tolerance"), [("scale", 1e-5), (5.0, 3e-5)])
def test_convert_svc__features_near_a_vector(
    gamma: float | str, tolerance: float, noise: float
) -> None:
    """The distance is a small difference of large terms; `scale` is 0.04 here, and 5 is narrow."""
    features, targets = make_features(5, 240)
    estimator = fit_calibrated_svc(features, targets, gamma=gamma)
    factors = 1 + noise * np.random.default_rng(2).normal(0, 1, (60, WIDTH))
    assert_parity(estimator, (features[:60] * factors).astype(np.float32), tolerance)


def test_convert_svc__kernel_is_at_most_one() -> None:
    """A large gamma would blow up a distance that rounding makes negative."""
    features, targets = make_features(2, 240)
    estimator = fit_calibrated_svc(features, targets, gamma=1e6)
    probabilities, _ = run_graph(export_classifier(estimator, WIDTH), features)
    logits = np.log(probabilities[:, 1]) - np.log(probabilities[:, 0])
    scores = (logits - estimator.offsets_) / estimator.slope_
    svc = estimator.pipeline[-1]  # an image is close to no support vector but itself
    assert (
        np.abs(scores).max() <= np.abs(svc.dual_coef_).max() + np.abs(svc.intercept_).max() + 1e-3
    )


@pytest.mark.parametrize("weight", ["balanced", {0: 0.01, 4: 1000.0}], ids=str)
def test_convert_svc__class_of_a_single_image(weight: Any) -> None:
    features, targets = make_features(4, 240)
    features = np.vstack([features, np.full((1, WIDTH), 2, dtype=np.float32)])
    estimator = fit_calibrated_svc(features, np.append(targets, 4), class_weight=weight)
    assert_parity(estimator, np.vstack([features[-1:], make_features(4, 60, seed=1)[0]]))


def test_convert_svc__sixteen_classes_with_many_vectors() -> None:
    """The decisions between similar classes are small sums of many large terms."""
    estimator = fit_calibrated_svc(*make_features(16, 1200))
    assert len(estimator.pipeline[-1].support_vectors_) > 1000
    assert_parity(estimator, make_features(16, 200, seed=1)[0], 3e-6)


def test_convert_svc__tied_vote_goes_to_the_first_class() -> None:
    features = np.array([[-1], [1], [9]], dtype=np.float32)
    # The dual coefficients reach C = 1, so that float32 computes the tied decision exactly.
    svc = SVC(gamma=0.25, C=1, break_ties=True).fit(features, [0, 1, 2])
    estimator = CalibratedSVC(make_pipeline(svc))
    estimator.classes_ = np.arange(3)
    estimator.slope_, estimator.offsets_ = 1.0, np.zeros(3)
    middle = np.zeros((1, 1), dtype=np.float32)
    assert estimator.vote_margin(middle) == 0
    assert np.round(svc.decision_function(middle)).tolist() == [[2, 1, 0]]
    assert_parity(estimator, middle)


def compute_decisions(svc: SVC, features: Array) -> Array:
    """Compute the pairwise decisions in float64 from the weights of the graph."""
    differences = features[:, np.newaxis] - svc.support_vectors_
    kernel = np.exp(-svc.gamma * np.sum(differences**2, axis=2))
    return kernel @ compute_pair_weights(svc) + svc.intercept_


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_compute_pair_weights__decisions_of_libsvm(classes: int) -> None:
    svc = SVC(decision_function_shape="ovo", gamma=0.1).fit(*make_features(classes, 240))
    features = make_features(classes, 20, seed=1)[0].astype(np.float64)
    decisions = compute_decisions(svc, features)
    expected = svc.decision_function(features).reshape(decisions.shape)
    np.testing.assert_allclose(decisions, expected, rtol=0, atol=1e-12)


def test_interleave__mixes_groups_evenly() -> None:
    sizes = np.array([2, 4, 1], dtype=np.int32)
    order = interleave(sizes)
    assert sorted(order) == list(range(7))
    assert np.repeat([0, 1, 2], sizes)[order].tolist() == [1, 0, 1, 2, 1, 0, 1]


@pytest.mark.parametrize("sizes", [(100, 100), (300, 7, 90, 1)])
def test_interleave__shares_of_the_groups_stay_equal(sizes: tuple[int, ...]) -> None:
    order = interleave(np.array(sizes, dtype=np.int32))
    groups = np.repeat(np.arange(len(sizes)), sizes)[order]
    shares = [np.cumsum(groups == group) / size for group, size in enumerate(sizes)]
    for first, second in combinations(range(len(sizes)), 2):
        allowed = 1 / sizes[first] + 1 / sizes[second]
        assert np.abs(shares[first] - shares[second]).max() <= allowed
