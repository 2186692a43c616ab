import numpy as np
import onnx
import pytest
from onnx import TensorProto

from boats_export.fp16 import convert_to_fp16
from boats_export.opset import IR_VERSION, OPSETS, convert_opset
from boats_export.verify import compute_onnx_features

TOLERANCE = 0.02  # of the largest feature: float16 has 11 bits, and there are 18 layers


@pytest.fixture(scope="module")
def fp16(tiny_network: onnx.ModelProto) -> onnx.ModelProto:
    return convert_to_fp16(tiny_network)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (7, 64, 160, 3), dtype=np.uint8))


def test_convert_to_fp16__similar_features(
    tiny_network: onnx.ModelProto, fp16: onnx.ModelProto, images: list[np.ndarray]
) -> None:
    expected, features = (compute_onnx_features(m, images) for m in (tiny_network, fp16))
    assert features.dtype == np.float32
    difference = np.abs(features - expected).max() / np.abs(expected).max()
    assert 0 < difference < TOLERANCE


def test_convert_to_fp16__weights_take_half_the_space(
    tiny_network: onnx.ModelProto, fp16: onnx.ModelProto
) -> None:
    onnx.checker.check_model(fp16, full_check=True)
    assert fp16.ByteSize() < 0.51 * tiny_network.ByteSize()
    sizes = [
        onnx.numpy_helper.to_array(tensor).size
        for tensor in fp16.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    ]
    assert sum(sizes) <= 6  # mean and standard deviation


@pytest.mark.parametrize("opset", OPSETS)
def test_convert_opset__same_features(
    fp16: onnx.ModelProto, images: list[np.ndarray], opset: int
) -> None:
    converted = convert_opset(fp16, opset)
    onnx.checker.check_model(converted, full_check=True)
    assert [(entry.domain, entry.version) for entry in converted.opset_import] == [("", opset)]
    assert converted.ir_version == IR_VERSION
    expected, features = (compute_onnx_features(m, images[:2]) for m in (fp16, converted))
    np.testing.assert_array_equal(features, expected)
