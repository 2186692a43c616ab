import numpy as np
import onnx
import pytest
from onnx import TensorProto

from boats_export.fp16 import convert_to_fp16
from boats_export.opset import OPSETS, convert_opset
from boats_export.verify import open_cpu

TOLERANCE = 0.02  # of the largest feature: float16 has 11 bits, and there are 18 layers


@pytest.fixture(scope="module")
def half(tiny_network: onnx.ModelProto) -> onnx.ModelProto:
    return convert_to_fp16(tiny_network)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_to_half__features_are_near(
    tiny_network: onnx.ModelProto, half: onnx.ModelProto, batch: int
) -> None:
    rng = np.random.default_rng(batch)
    pixels = rng.integers(0, 256, (batch, 64, 160, 3), dtype=np.uint8)
    expected, features = (
        open_cpu(model.SerializeToString()).run(None, {"image": pixels})[0]
        for model in (tiny_network, half)
    )
    assert features.dtype == np.float32
    difference = np.abs(features - expected).max() / np.abs(expected).max()
    assert 0 < difference < TOLERANCE


def test_to_half__weights_take_half_the_space(
    tiny_network: onnx.ModelProto, half: onnx.ModelProto
) -> None:
    onnx.checker.check_model(half, full_check=True)
    assert half.ByteSize() < 0.51 * tiny_network.ByteSize()
    wide = [t for t in half.graph.initializer if t.data_type == TensorProto.FLOAT]
    assert sum(onnx.numpy_helper.to_array(tensor).size for tensor in wide) <= 6  # mean and std
    convolutions = [node for node in half.graph.node if node.op_type == "Conv"]
    assert convolutions


@pytest.mark.parametrize("opset", OPSETS)
def test_convert_opset__same_features(half: onnx.ModelProto, opset: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 160, 3), dtype=np.uint8)
    converted = convert_opset(half, opset)
    onnx.checker.check_model(converted, full_check=True)
    assert [(entry.domain, entry.version) for entry in converted.opset_import] == [("", opset)]
    assert converted.ir_version == 10
    expected, features = (
        open_cpu(model.SerializeToString()).run(None, {"image": pixels})[0]
        for model in (half, converted)
    )
    np.testing.assert_array_equal(features, expected)
