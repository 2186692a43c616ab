from typing import Any

import numpy as np
import onnx
import pytest
import skl2onnx.common._registration as registration
from onnx import TensorProto
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from boats_export.classifier_graph import export_classifier
from boats_export.opset import IR_VERSION, OPSET
from support.classifiers import WIDTH, assert_parity, fit_calibrated_svc, make_features


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("scalers", [[], [Normalizer()], [StandardScaler()]], ids=str)
def test_export_classifier__calibrated_svc(classes: int, scalers: list[Any]) -> None:
    stretch = np.linspace(0.1, 10, WIDTH, dtype=np.float32)
    features, targets = make_features(classes, 240)
    estimator = fit_calibrated_svc(features * stretch, targets, *scalers)
    probabilities = assert_parity(estimator, make_features(classes, 60, seed=1)[0] * stretch)
    assert probabilities.shape == (60, classes)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 5])
def test_export_classifier__logistic_regression(classes: int) -> None:
    estimator = LogisticRegression().fit(*make_features(classes, 240))
    assert_parity(estimator, make_features(classes, 60, seed=1)[0])


def test_export_classifier__normalizer_keeps_a_black_image() -> None:
    features, targets = make_features(3, 120)
    estimator = fit_calibrated_svc(features, targets, Normalizer())
    assert_parity(estimator, np.vstack([np.zeros((1, WIDTH), np.float32), features[:3]]))


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """The longest graph: both scalers, more than two classes."""
    scalers = (Normalizer(), StandardScaler())
    return export_classifier(fit_calibrated_svc(*make_features(5, 240), *scalers), WIDTH)


def test_export_classifier__has_standard_operators_only(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION
    assert not model.functions
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"Loop", "Scan", "If", "Identity"}
    assert len(model.graph.node) <= 25


def test_export_classifier__has_no_float64(model: onnx.ModelProto) -> None:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    assert len(values) == len(graph.node) + 1
    types = {value.type.tensor_type.elem_type for value in values}
    types |= {tensor.data_type for tensor in graph.initializer}
    assert types == {TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL}


def test_export_classifier__has_a_dynamic_batch(model: onnx.ModelProto) -> None:
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "features": ["batch", WIDTH],
        "probabilities": ["batch", 5],
        "label": ["batch"],
    }


def test_export_classifier__is_deterministic(model: onnx.ModelProto) -> None:
    scalers = (Normalizer(), StandardScaler())
    repeated = export_classifier(fit_calibrated_svc(*make_features(5, 240), *scalers), WIDTH)
    assert repeated.SerializeToString() == model.SerializeToString()


@pytest.mark.usefixtures("model")
def test_export_classifier__keeps_the_registry_of_skl2onnx() -> None:
    converter = registration.get_converter("SklearnSVC")
    assert converter.__module__.startswith("skl2onnx.")


@pytest.mark.parametrize(
    ("steps", "settings", "message"),
    [
        ([], {"kernel": "linear"}, "only kernel='rbf'"),
        ([], {"decision_function_shape": "ovo"}, "decision_function_shape='ovr'"),
        ([Normalizer("l1")], {}, "only norm='l2'"),
        ([StandardScaler(with_mean=False)], {}, "only with mean and scale"),
    ],
    ids=str,
)
def test_export_classifier__unsupported_setting(
    steps: list[Any], settings: dict[str, Any], message: str
) -> None:
    estimator = fit_calibrated_svc(*make_features(3, 120), *steps, **settings)
    with pytest.raises(ValueError, match=message):
        export_classifier(estimator, WIDTH)


@pytest.mark.parametrize("estimator", [SVC(), make_pipeline(StandardScaler(), SVC())], ids=str)
def test_export_classifier__unsupported_estimator(estimator: Any) -> None:
    estimator.fit(*make_features(3, 120))
    with pytest.raises(ValueError, match="not a classifier of boats-train"):
        export_classifier(estimator, WIDTH)


@pytest.mark.parametrize("names", [["a", "b", "c"], [1, 2, 3]])
def test_export_classifier__classes_must_be_indices(names: list[Any]) -> None:
    features, targets = make_features(3, 120)
    estimator = LogisticRegression().fit(features, np.array(names)[targets])
    with pytest.raises(ValueError, match="must be 0 to K-1"):
        export_classifier(estimator, WIDTH)
