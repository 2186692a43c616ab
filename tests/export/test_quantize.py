from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
import pytest

from boats_export import quantize
from boats_export.quantize import (
    METHODS,
    Quantized,
    Quantizer,
    Setting,
    open_quantizer,
    resolve_target,
    sample,
)
from boats_export.verification_images import Photos, load_verification_images
from boats_export.verify import session_features
from boats_runtime.errors import DataError
from boats_train.runs.run import Run


@pytest.fixture(scope="module")
def train(loaded_run: Run) -> Photos:
    return load_verification_images(loaded_run, None, "train")


@pytest.fixture(scope="module")
def quantizer(tiny_network: onnx.ModelProto, train: Photos) -> Iterator[Quantizer]:
    with open_quantizer(tiny_network, train, "vnni", 0) as ready:
        yield ready


@pytest.fixture(scope="module")
def found(quantizer: Quantizer) -> list[Quantized]:
    return list(quantizer.search())


def test_search__all_ways_then_layers_in_float(found: list[Quantized]) -> None:
    assert [len(one.setting.floats) for one in found] == sorted(
        {len(one.setting.floats) for one in found}
    )
    assert found[0].setting.floats == ()
    first = found[0].tried
    assert {row["method"] for row in first} == set(METHODS)
    assert found[0].distance == min(row["distance"] for row in first)
    assert len({one.setting.method for one in found}) == 1
    assert found[-1].distance < found[0].distance
    assert len(found[-1].tried) == len(METHODS) + quantize.GROUPS + len(quantize.FLOATS) - 1


def test_search__features_stay_near(
    found: list[Quantized], tiny_network: onnx.ModelProto, train: Photos
) -> None:
    expected = session_features(tiny_network.SerializeToString(), train)
    features = session_features(found[0].model.SerializeToString(), train)
    lengths = np.linalg.norm(expected, axis=1)
    assert np.max(np.linalg.norm(features - expected, axis=1) / lengths) < 0.1


def test_search__what_is_quantised(found: list[Quantized], tiny_network: onnx.ModelProto) -> None:
    model = found[0].model
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ByteSize() < 0.3 * tiny_network.ByteSize()
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert made[node.input[0]] == made[node.input[1]] == "DequantizeLinear"
        if node.op_type in ("Sub", "Div", "Cast", "Transpose"):  # the normalisation
            assert made.get(node.input[0]) != "DequantizeLinear"
    scales = Counter(
        tensor.data_type for tensor in model.graph.initializer if "weight" in tensor.name
    )
    assert scales[onnx.TensorProto.INT8]


def test_search__weights_per_channel(found: list[Quantized]) -> None:
    axes = [
        attribute.i
        for node in found[0].model.graph.node
        if node.op_type == "DequantizeLinear" and "weight" in node.input[0]
        for attribute in node.attribute
        if attribute.name == "axis"
    ]
    assert axes
    assert set(axes) == {0}


def test_quantize__for_any_cpu_leaves_a_bit_of_the_weights(
    tiny_network: onnx.ModelProto, train: Photos
) -> None:
    largest = {}
    for target in ("vnni", "any"):
        with open_quantizer(tiny_network, train, target, 0) as quantizer:
            model = quantizer.quantize(Setting("minmax", target)).model
        weights = [
            onnx.numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
            if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
        ]
        largest[target] = max(np.abs(one.astype(int)).max() for one in weights)
    assert largest == {"vnni": 127, "any": 64}


def test_quantize__the_same_again(quantizer: Quantizer) -> None:
    setting = Setting("minmax", "vnni")
    first, second = (quantizer.quantize(setting).model for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_open_quantizer__too_few_photos(tiny_network: onnx.ModelProto, train: Photos) -> None:
    few = replace(train, paths=train.paths[:7], targets=train.targets[:7])
    with (
        pytest.raises(DataError, match="7 photos to calibrate int8 on are too few, 8 are needed"),
        open_quantizer(tiny_network, few, "any", 0),
    ):
        pass


def test_sample__the_classes_in_turn() -> None:
    targets = np.array([0] * 100 + [1] * 10 + [2] * 2)
    chosen = sample(targets, 12, 0)
    assert np.bincount(targets[chosen]).tolist() == [5, 5, 2]
    assert targets[chosen[:6]].tolist() == [0, 1, 2, 0, 1, 2]
    assert len(set(chosen.tolist())) == 12
    assert chosen.tolist() == sample(targets, 12, 0).tolist() != sample(targets, 12, 1).tolist()


def test_sample__all_there_are() -> None:
    assert sorted(sample(np.array([0, 1, 0]), 80, 0).tolist()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("flags", "target"), [({"avx512_vnni"}, "vnni"), ({"avx2"}, "any"), (set(), "any")]
)
def test_resolve_target__as_this_cpu(
    flags: set[str], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "cpu_flags", lambda: frozenset(flags))
    assert resolve_target("auto") == target
    assert [resolve_target(told) for told in ("vnni", "any")] == ["vnni", "any"]
