"""Feature network in float16, for CUDA: half the memory, and products on tensor cores."""

import onnx
from onnx import compose
from onnx.utils import Extractor
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from boats_export.network import normalization_output
from boats_export.opset import set_versions
from boats_runtime.model_session import FEATURES, INPUT


def convert_to_fp16(network: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a feature network to float16 from its normalized image to its features.

    The normalization stays in float32, because float16 is too coarse for the pixel values, and the
    features are converted back to float32.

    Args:
        network: Model from `export_network`.
    """
    boundary = normalization_output(network)
    extractor = Extractor(onnx.shape_inference.infer_shapes(network))
    normalization = extractor.extract_model([INPUT], [boundary])
    body = extractor.extract_model([boundary], [FEATURES])
    body = convert_float_to_float16(body, keep_io_types=True)
    OnnxModel.graph_topological_sort(body.graph)  # the converter appends its own nodes at the end
    del body.graph.value_info[:]  # has the boundary too, which merge_models refuses
    model = compose.merge_models(normalization, body, io_map=[(boundary, boundary)])
    return set_versions(model)
