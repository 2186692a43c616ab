from pathlib import Path

import numpy as np
import onnx
import pytest

from boats_export import quantize
from boats_export.opset import OPSET
from boats_export.quantize import (
    FLOAT_GROUPS,
    LAYER_GROUPS,
    METHODS,
    QuantizedNetwork,
    Quantizer,
    Setting,
    resolve_target,
    select_balanced,
)
from boats_export.verification_images import VerificationImages, load_verification_images
from boats_export.verify import compute_onnx_features
from boats_runtime.errors import DataError
from boats_train.runs.run import Run


@pytest.fixture(scope="module")
def training(loaded_run: Run) -> VerificationImages:
    return load_verification_images(loaded_run, None, "train")


@pytest.fixture(scope="module")
def quantizer(
    tiny_network: onnx.ModelProto,
    training: VerificationImages,
    tmp_path_factory: pytest.TempPathFactory,
) -> Quantizer:
    return Quantizer(tiny_network, training, "vnni", 0, tmp_path_factory.mktemp("quantizer"))


@pytest.fixture(scope="module")
def results(quantizer: Quantizer) -> list[QuantizedNetwork]:
    return list(quantizer.search())


def test_search__methods_then_layers_in_float(
    quantizer: Quantizer, results: list[QuantizedNetwork]
) -> None:
    first, *others = results
    trials = quantizer.trials
    assert [trial["method"] for trial in trials[: len(METHODS)]] == list(METHODS)
    assert len(trials) == len(METHODS) + LAYER_GROUPS + len(FLOAT_GROUPS)
    assert first.distance == min(trial["distance"] for trial in trials[: len(METHODS)])
    assert {result.setting.method for result in others} == {first.setting.method}
    counts = [len(result.setting.float_layers) for result in results]
    assert counts == sorted(set(counts))
    assert counts[0] == 0
    assert others[-1].distance < first.distance


def test_search__features_stay_similar(
    results: list[QuantizedNetwork], tiny_network: onnx.ModelProto, training: VerificationImages
) -> None:
    expected = compute_onnx_features(tiny_network, training)
    features = compute_onnx_features(results[0].model, training)
    lengths = np.linalg.norm(expected, axis=1)
    assert np.max(np.linalg.norm(features - expected, axis=1) / lengths) < 0.1


def test_search__quantizes_layers_but_not_the_normalization(
    results: list[QuantizedNetwork], tiny_network: onnx.ModelProto
) -> None:
    model = results[0].model
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert model.ByteSize() < 0.3 * tiny_network.ByteSize()
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert producers[node.input[0]] == producers[node.input[1]] == "DequantizeLinear"
        if node.op_type in ("Sub", "Div", "Cast", "Transpose"):
            assert producers.get(node.input[0]) != "DequantizeLinear"


def test_search__weights_per_channel(results: list[QuantizedNetwork]) -> None:
    axes = {
        attribute.i
        for node in results[0].model.graph.node
        if node.op_type == "DequantizeLinear" and "weight" in node.input[0]
        for attribute in node.attribute
        if attribute.name == "axis"
    }
    assert axes == {0}


@pytest.mark.parametrize(("target", "largest"), [("vnni", 127), ("any", 64)])
def test_quantize__range_of_the_weights(
    tiny_network: onnx.ModelProto,
    training: VerificationImages,
    tmp_path: Path,
    target: str,
    largest: int,
) -> None:
    quantizer = Quantizer(tiny_network, training, target, 0, tmp_path)
    model = quantizer.quantize(Setting("minmax", target)).model
    weights = [
        onnx.numpy_helper.to_array(tensor).astype(int)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert max(np.abs(values).max() for values in weights) == largest


def test_quantizer__too_few_images(
    tiny_network: onnx.ModelProto, training: VerificationImages, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"int8 needs 8 training images .*, found 7"):
        Quantizer(tiny_network, training.select(range(7)), "any", 0, tmp_path)


def test_select_balanced__classes_in_turn() -> None:
    targets = np.array([0] * 100 + [1] * 10 + [2] * 2)
    selected = select_balanced(targets, 12, seed=0)
    assert np.bincount(targets[selected]).tolist() == [5, 5, 2]
    assert targets[selected[:6]].tolist() == [0, 1, 2, 0, 1, 2]
    assert len(set(selected.tolist())) == 12
    assert selected.tolist() == select_balanced(targets, 12, seed=0).tolist()
    assert selected.tolist() != select_balanced(targets, 12, seed=1).tolist()


def test_select_balanced__fewer_images_than_requested() -> None:
    assert sorted(select_balanced(np.array([0, 1, 0]), 80, 0).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("flags", "target"), [({"avx512_vnni"}, "vnni"), ({"avx2"}, "any"), (set(), "any")]
)
def test_resolve_target__auto(
    flags: set[str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "cpu_flags", lambda: frozenset(flags))
    assert resolve_target("auto") == target
    assert [resolve_target(name) for name in ("vnni", "any")] == ["vnni", "any"]
