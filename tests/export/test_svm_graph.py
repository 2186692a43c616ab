"""The classifier's graph against scikit-learn in float64, through a real ONNX Runtime session."""

import warnings
from itertools import combinations
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import skl2onnx
from numpy.typing import NDArray
from onnx import TensorProto
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC

from boats_export.classifier_graph import export_classifier
from boats_export.opset import IR_VERSION, OPSET
from boats_export.svm_graph import interleave, pair_weights
from boats_train.models.calibrated_svc import CalibratedSVC

Array = NDArray[Any]

FEATURES = 24
BATCHES = (1, 2, 7)
TOLERANCE = 1e-5
"""Largest difference of a score or a probability to float64. Most are below 1e-6."""


def make_photos(classes: int, count: int, seed: int = 0) -> tuple[Array, Array]:
    """Features like pooled activations, `(count, FEATURES) float32`, and their classes.

    The classes overlap, and the last of them is rare.
    """
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 0.6, (classes, FEATURES))
    common = np.arange(count) % max(classes - 1, 2)
    targets = np.where(np.arange(count) % 29 == 0, classes - 1, common)
    features = np.maximum(centres[targets] + rng.normal(0, 1, (count, FEATURES)), 0)
    return features.astype(np.float32), targets


def calibrate(estimator: Any, features: Array, targets: Array) -> CalibratedClassifierCV:
    """Fits and calibrates on the same photos: one fold, whatever is rare."""
    everything = [(np.arange(len(targets)), np.arange(len(targets)))]
    model = CalibratedClassifierCV(estimator, method="sigmoid", ensemble=False, cv=everything)
    return model.fit(features, targets)


def open_head(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def run(model: onnx.ModelProto, features: Array) -> tuple[Array, Array]:
    """Runs a head in batches of 1, 2 and 7 in turn; the last may be smaller."""
    session = open_head(model)
    parts = []
    start = turn = 0
    while start < len(features):
        size = BATCHES[turn % 3]
        batch = {"features": features[start : start + size]}
        parts.append(session.run(["probabilities", "label"], batch))
        start, turn = start + size, turn + 1
    scores, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert scores.dtype == np.float32
    assert labels.dtype == np.int64
    return scores, labels


def assert_same(
    estimator: Any, features: Array, tolerance: float = TOLERANCE, *, half: bool = False
) -> Array:
    """Compares probabilities and labels with scikit-learn in float64; returns the former."""
    probabilities, labels = run(export_classifier(estimator, features.shape[1], half), features)
    exact = features.astype(np.float64)
    np.testing.assert_allclose(
        probabilities, estimator.predict_proba(exact), rtol=0, atol=tolerance
    )
    np.testing.assert_array_equal(labels, estimator.predict(exact))
    return probabilities


KERNELS: list[dict[str, Any]] = [
    {"kernel": "rbf"},
    {"kernel": "rbf", "gamma": "auto"},
    {"kernel": "rbf", "gamma": 0.5, "C": 10.0},
    {"kernel": "rbf", "class_weight": "balanced"},
    {"kernel": "linear"},
    {"kernel": "poly"},
    {"kernel": "poly", "degree": 2, "coef0": 1.5, "gamma": 0.1},
    {"kernel": "sigmoid"},
    {"kernel": "sigmoid", "gamma": 0.01, "coef0": -0.5},
]


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("settings", KERNELS, ids=str)
def test_export_head__calibrated_svc(classes: int, settings: dict[str, Any]) -> None:
    svc = SVC(break_ties=True, **settings)
    estimator = calibrate(svc, *make_photos(classes, 240))
    probabilities = assert_same(estimator, make_photos(classes, 60, seed=1)[0])
    assert probabilities.shape == (60, classes)
    assert len(np.unique(np.argmax(probabilities, axis=1))) > 1


@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("settings", KERNELS, ids=str)
def test_export_head__vectors_learned_in_float16_lose_nothing(
    classes: int, settings: dict[str, Any]
) -> None:
    features, targets = make_photos(classes, 240)
    rounded = features.astype(np.float16).astype(np.float32)
    estimator = calibrate(SVC(break_ties=True, **settings), rounded, targets)
    assert_same(estimator, make_photos(classes, 60, seed=1)[0], half=True)


def test_export_head__vectors_in_float16_take_half_the_space() -> None:
    features, targets = make_photos(5, 240)
    estimator = calibrate(SVC(break_ties=True), features, targets)
    sizes = [
        sum(
            len(tensor.raw_data)
            for tensor in export_classifier(estimator, FEATURES, half).graph.initializer
            if "support_vectors" in tensor.name
        )
        for half in (False, True)
    ]
    assert sizes[0] == 2 * sizes[1] > 0


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler()],
        [StandardScaler(with_mean=False)],
        [StandardScaler(with_std=False)],
        [StandardScaler(with_mean=False, with_std=False)],
        [Normalizer()],
        [Normalizer(), StandardScaler()],
    ],
    ids=str,
)
def test_export_head__calibrated_pipeline(classes: int, steps: list[Any]) -> None:
    pipeline = make_pipeline(*steps, SVC(break_ties=True))
    features, targets = make_photos(classes, 240)
    stretched = np.linspace(0.1, 10, FEATURES, dtype=np.float32)
    estimator = calibrate(pipeline, features * stretched, targets)
    assert_same(estimator, make_photos(classes, 60, seed=1)[0] * stretched)


@pytest.mark.parametrize("classes", [2, 5])
def test_export_head__calibrated_svm_of_the_project(classes: int) -> None:
    features, targets = make_photos(classes, 240)
    pipeline = make_pipeline(StandardScaler(), SVC(break_ties=True)).fit(features, targets)
    estimator = CalibratedSVC(pipeline).fit(pipeline.decision_function(features), targets)
    estimator.offsets_ += np.linspace(0.5, 1.0, len(estimator.offsets_))
    assert_same(estimator, make_photos(classes, 60, seed=1)[0])


@pytest.mark.parametrize("classes", [2, 5])
def test_export_head__logistic_regression(classes: int) -> None:
    features, targets = make_photos(classes, 240)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, targets)
    assert_same(estimator, make_photos(classes, 60, seed=1)[0])


def assert_same_scores(svc: SVC, features: Array) -> None:
    """Compares scores and labels of an SVC with scikit-learn in float64."""
    scores, labels = run(export_classifier(svc, features.shape[1]), features)
    exact = features.astype(np.float64)
    expected = svc.decision_function(exact)
    if len(svc.classes_) == 2:
        expected = np.column_stack([-expected, expected])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(labels, svc.predict(exact))


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("settings", KERNELS, ids=str)
def test_export_head__plain_svc_gives_its_scores(classes: int, settings: dict[str, Any]) -> None:
    svc = SVC(break_ties=True, **settings).fit(*make_photos(classes, 240))
    assert_same_scores(svc, make_photos(classes, 60, seed=1)[0])


@pytest.mark.parametrize("kind", ["plain", "calibrated", "logistic"])
@pytest.mark.parametrize("names", [(3, 7), (0, 1, 4), (1, 2, 3, 4)])
def test_export_head__label_is_the_class_not_its_column(kind: str, names: tuple[int, ...]) -> None:
    features, targets = make_photos(len(names), 200)
    named = np.array(names)[targets]
    estimator: Any
    if kind == "calibrated":
        estimator = calibrate(SVC(break_ties=True), features, named)
    else:
        classifier = SVC(break_ties=True) if kind == "plain" else LogisticRegression()
        estimator = make_pipeline(StandardScaler(), classifier).fit(features, named)
    labels = run(export_classifier(estimator, FEATURES), features)[1]
    np.testing.assert_array_equal(labels, estimator.predict(features.astype(np.float64)))
    assert set(labels) <= set(names)
    assert len(set(labels)) > 1


# Data that float32 could stumble over.


@pytest.mark.parametrize("offset", [0, 100, 10_000])
@pytest.mark.parametrize("kernel", ["rbf", "linear", "sigmoid"])
def test_export_head__features_far_from_zero(kernel: str, offset: float) -> None:
    """What all photos have in common must not drown what tells them apart."""
    features, targets = make_photos(5, 240)
    svc = SVC(kernel=kernel, break_ties=True, gamma=0.05)
    svc.fit(features + np.float32(offset), targets)
    assert_same_scores(svc, make_photos(5, 60, seed=1)[0] + np.float32(offset))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_export_head__features_tiny_and_huge(scale: float) -> None:
    features, targets = make_photos(5, 240)
    estimator = calibrate(SVC(break_ties=True), features * np.float32(scale), targets)
    assert_same(estimator, make_photos(5, 60, seed=1)[0] * np.float32(scale))


@pytest.mark.parametrize("factor", [1e3, 1e10, 1e20, 1e30])
def test_export_head__photos_far_from_all_vectors(factor: float) -> None:
    """No kernel is left of them, even where their squares are infinite in float32."""
    estimator = calibrate(SVC(break_ties=True), *make_photos(5, 240))
    assert_same(estimator, make_photos(5, 20, seed=1)[0] * np.float32(factor))


@pytest.mark.parametrize("nudge", [0.0, 1e-7, 1e-4])
@pytest.mark.parametrize(("gamma", "tolerance"), [("scale", 1e-5), (5.0, 3e-5)])
def test_export_head__photos_near_a_vector(
    gamma: float | str, tolerance: float, nudge: float
) -> None:
    """The distance cancels to about nothing; `scale` is 0.04 here, and 5 a narrow kernel."""
    features, targets = make_photos(5, 240)
    estimator = calibrate(SVC(break_ties=True, gamma=gamma), features, targets)
    noise = np.random.default_rng(2).normal(0, 1, (60, FEATURES))
    assert_same(estimator, (features[:60] * (1 + nudge * noise)).astype(np.float32), tolerance)


def test_export_head__kernel_of_a_vector_with_itself_is_at_most_one() -> None:
    """Rounding can make the square of no distance negative, which a large gamma would blow up."""
    features, targets = make_photos(2, 240)
    svc = SVC(gamma=1e6).fit(features, targets)
    scores = run(export_classifier(svc, FEATURES), features)[0]
    # A photo is near no vector but itself.
    largest = np.abs(svc.dual_coef_).max() + np.abs(svc.intercept_).max()
    assert np.abs(scores).max() <= largest + 1e-6


@pytest.mark.parametrize("weight", ["balanced", {0: 0.01, 4: 1000.0}], ids=str)
def test_export_head__class_of_a_single_photo(weight: Any) -> None:
    features, targets = make_photos(4, 240)
    features = np.vstack([features, np.full((1, FEATURES), 2, dtype=np.float32)])
    targets = np.append(targets, 4)
    estimator = calibrate(SVC(break_ties=True, class_weight=weight), features, targets)
    assert_same(estimator, np.vstack([features[-1:], make_photos(4, 60, seed=1)[0]]))


def test_export_head__sixteen_classes_with_all_vectors_in_use() -> None:
    """The decisions of close classes are small sums of many large terms."""
    features, targets = make_photos(16, 1200)
    svc = SVC(break_ties=True).fit(features, targets)
    assert len(svc.support_vectors_) > 1000
    photos = make_photos(16, 200, seed=1)[0]
    scores = run(export_classifier(svc, FEATURES), photos)[0]
    difference = np.abs(scores - svc.decision_function(photos.astype(np.float64)))
    assert difference.max() < 3e-6


# Ties, and sigmoids that say nothing.


def make_line(*places: float) -> tuple[Array, Array]:
    """One photo a class, on a line."""
    return np.array(places, dtype=np.float32)[:, np.newaxis], np.arange(len(places))


def test_export_head__binary_tie_is_the_second_class() -> None:
    svc = SVC(kernel="linear", break_ties=True).fit(*make_line(-1, 1))
    middle = np.zeros((1, 1), dtype=np.float32)
    assert svc.decision_function(middle) == [0]
    assert run(export_classifier(svc, 1), middle)[1].tolist() == svc.predict(middle).tolist() == [1]


def test_export_head__pairwise_tie_is_a_vote_for_the_first_class() -> None:
    svc = SVC(kernel="linear", C=100, break_ties=True).fit(*make_line(-1, 1, 9))
    middle = np.zeros((1, 1), dtype=np.float32)
    expected = svc.decision_function(middle)
    assert np.round(expected).tolist() == [[2, 1, 0]]
    scores, labels = run(export_classifier(svc, 1), middle)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    assert labels.tolist() == [0]


def set_sigmoids(estimator: Any, slopes: Any, offsets: Any) -> None:
    calibrators = estimator.calibrated_classifiers_[0].calibrators
    for calibrator, slope, offset in zip(calibrators, slopes, offsets, strict=True):
        calibrator.a_, calibrator.b_ = slope, offset


def test_export_head__probabilities_are_equal_where_all_sigmoids_are_zero() -> None:
    features, targets = make_photos(4, 120)
    estimator = calibrate(SVC(break_ties=True), features, targets)
    set_sigmoids(estimator, [-1, -2, -3, -4], [800, 900, 1000, 1100])
    np.testing.assert_array_equal(assert_same(estimator, features[:9]), np.full((9, 4), 0.25))


def test_export_head__probabilities_survive_sigmoids_that_float32_has_not() -> None:
    features, targets = make_photos(4, 120)
    estimator = calibrate(SVC(break_ties=True), features, targets)
    set_sigmoids(estimator, [-1] * 4, [300.0, 300.5, 301.0, 300.2])
    assert_same(estimator, features[:30])


def test_export_head__label_where_sigmoids_are_all_but_one() -> None:
    """float32 has no 1 - 1e-12; scikit-learn in float64 has, and prefers 1 - 1e-14."""
    features, targets = make_photos(4, 120)
    estimator = calibrate(SVC(break_ties=True), features, targets)
    set_sigmoids(estimator, [0, 0, 0, 0], [-27.0, -32.0, -30.0, 3.0])
    assert_same(estimator, features[:4])
    assert estimator.predict(features[:4]).tolist() == [1, 1, 1, 1]


def test_export_head__label_where_sigmoids_are_one() -> None:
    """Then both are 1 in float64 too, and the first class has it."""
    features, targets = make_photos(4, 120)
    estimator = calibrate(SVC(break_ties=True), features, targets)
    set_sigmoids(estimator, [0, 0, 0, 0], [3.0, -50.0, -90.0, 3.0])
    assert_same(estimator, features[:4])
    assert estimator.predict(features[:4]).tolist() == [1, 1, 1, 1]


def test_export_head__normalizer_leaves_a_dark_photo_dark() -> None:
    features, targets = make_photos(3, 120)
    estimator = calibrate(make_pipeline(Normalizer(), SVC(break_ties=True)), features, targets)
    dark = np.zeros((1, FEATURES), dtype=np.float32)
    assert_same(estimator, np.vstack([dark, features[:3]]))


# The graph itself.


@pytest.fixture(scope="module")
def whole() -> onnx.ModelProto:
    """The longest graph: both scalers, RBF, sigmoids, and a class missing."""
    features, targets = make_photos(5, 240)
    pipeline = make_pipeline(Normalizer(), StandardScaler(), SVC(break_ties=True))
    estimator = calibrate(pipeline, features, np.array([0, 1, 2, 4, 5])[targets])
    return export_classifier(estimator, FEATURES)


def test_export_head__is_of_standard_operators_only(whole: onnx.ModelProto) -> None:
    onnx.checker.check_model(whole, full_check=True)
    assert [(opset.domain, opset.version) for opset in whole.opset_import] == [("", OPSET)]
    assert whole.ir_version == IR_VERSION
    assert {node.domain for node in whole.graph.node} == {""}
    assert not whole.functions
    operators = {node.op_type for node in whole.graph.node}
    assert not operators & {"Loop", "Scan", "If", "Identity"}
    assert len(whole.graph.node) <= 27


def test_export_head__holds_no_float64(whole: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(whole, strict_mode=True, data_prop=True)
    graph = inferred.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    assert len(values) == len(graph.node) + 1
    kinds = {value.type.tensor_type.elem_type for value in values}
    kinds |= {tensor.data_type for tensor in graph.initializer}
    assert kinds == {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL}


def test_export_head__leaves_the_batch_open(whole: onnx.ModelProto) -> None:
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*whole.graph.input, *whole.graph.output)
    }
    assert shapes == {
        "features": ["batch", FEATURES],
        "probabilities": ["batch", 5],
        "label": ["batch"],
    }


def test_export_head__keeps_the_vectors_in_one_matrix(whole: onnx.ModelProto) -> None:
    large = [tensor.dims for tensor in whole.graph.initializer if len(tensor.dims) == 2]
    vectors, weights, signs = sorted(large, key=lambda dims: -dims[0])
    assert vectors[1] == FEATURES
    assert weights == [vectors[0], 10]
    assert signs == [10, 5]


def test_export_head__is_the_same_each_time() -> None:
    estimator = calibrate(SVC(break_ties=True), *make_photos(3, 120))
    first, second = (export_classifier(estimator, FEATURES).SerializeToString() for _ in range(2))
    assert first == second


def test_export_head__leaves_skl2onnx_as_it_is() -> None:
    svc = SVC(break_ties=True).fit(*make_photos(3, 120))
    export_classifier(svc, FEATURES)
    with warnings.catch_warnings():
        # skl2onnx reads probA_, which scikit-learn 1.9 warns of and 1.11 drops.
        warnings.simplefilter("ignore", FutureWarning)
        stock = skl2onnx.to_onnx(svc, make_photos(3, 1)[0], target_opset={"": 18, "ai.onnx.ml": 3})
    assert "SVMClassifier" in {node.op_type for node in stock.graph.node}


def _inner(x: Array, y: Array) -> Array:
    return x @ y.T


@pytest.mark.parametrize(
    ("estimator", "complaint"),
    [
        (SVC(), "without break_ties"),
        (SVC(decision_function_shape="ovo"), "without break_ties"),
        (SVC(kernel=_inner, break_ties=True), "only linear, poly, rbf, sigmoid have a graph"),
        (make_pipeline(Normalizer("l1"), SVC(break_ties=True)), "norm 'l1'"),
        (make_pipeline(MinMaxScaler(), SVC(break_ties=True)), "MinMaxScaler: has no graph"),
        (CalibratedClassifierCV(SVC(), method="isotonic", ensemble=False, cv=2), "'isotonic'"),
        (CalibratedClassifierCV(SVC(), ensemble=True, cv=2), "ensemble=True"),
        (
            CalibratedClassifierCV(LogisticRegression(), ensemble=False, cv=2),
            "of LogisticRegression",
        ),
        (
            CalibratedClassifierCV(SVC(decision_function_shape="ovo"), ensemble=False, cv=2),
            "decision function 'ovo'",
        ),
    ],
    ids=str,
)
def test_export_head__refuses_what_it_would_get_wrong(estimator: Any, complaint: str) -> None:
    features, targets = make_photos(3, 120)
    estimator.fit(features, targets)
    with pytest.raises(ValueError, match=complaint):
        export_classifier(estimator, FEATURES)


def test_export_head__refuses_classes_that_are_no_integers() -> None:
    features, targets = make_photos(3, 120)
    svc = SVC(break_ties=True).fit(features, targets.astype(str))
    with pytest.raises(ValueError, match="only integers"):
        export_classifier(svc, FEATURES)


# What the graph is made of.


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_pair_weights__make_the_decisions_of_libsvm(classes: int) -> None:
    features, targets = make_photos(classes, 240)
    pairwise = SVC(decision_function_shape="ovo", gamma=0.1).fit(features, targets)
    photos = make_photos(classes, 20, seed=1)[0].astype(np.float64)
    differences = photos[:, np.newaxis] - pairwise.support_vectors_
    kernel = np.exp(-0.1 * np.sum(differences**2, axis=2))
    decisions = kernel @ pair_weights(pairwise) + pairwise.intercept_
    expected = pairwise.decision_function(photos).reshape(decisions.shape)
    np.testing.assert_allclose(decisions, expected, rtol=0, atol=1e-12)


def test_interleave__mixes_groups_evenly() -> None:
    sizes = np.array([2, 4, 1], dtype=np.int32)
    order = interleave(sizes)
    assert sorted(order) == list(range(7))
    groups = np.repeat([0, 1, 2], sizes)[order].tolist()
    assert groups == [1, 0, 1, 2, 1, 0, 1]


@pytest.mark.parametrize("sizes", [(100, 100), (300, 7, 90, 1)])
def test_interleave__keeps_shares_equal_all_the_way(sizes: tuple[int, ...]) -> None:
    order = interleave(np.array(sizes, dtype=np.int32))
    groups = np.repeat(np.arange(len(sizes)), sizes)[order]
    shares = [np.cumsum(groups == group) / size for group, size in enumerate(sizes)]
    for one, other in combinations(range(len(sizes)), 2):
        allowed = 1 / sizes[one] + 1 / sizes[other]
        assert np.abs(shares[one] - shares[other]).max() <= allowed
