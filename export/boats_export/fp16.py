"""The network in 16 bits, for CUDA: half the memory, and the products that tensor cores take."""

import onnx
from onnx import compose
from onnx.utils import Extractor
from onnxruntime.transformers.float16 import convert_float_to_float16

from boats_export.network import normalised
from boats_export.opset import stamp
from boats_runtime.classifier import FEATURES, INPUT

BODY = "body/"


def convert_to_fp16(network: onnx.ModelProto) -> onnx.ModelProto:
    """Converts a feature network to float16 between its normalisation and its features.

    Pixels are normalised in float32, which a mean of 124 needs, and the features are float32 again.

    Args:
        network: From `export_network`.
    """
    middle = normalised(network)
    extractor = Extractor(onnx.shape_inference.infer_shapes(network))
    start = extractor.extract_model([INPUT], [middle])
    body = convert_float_to_float16(
        extractor.extract_model([middle], [FEATURES]), keep_io_types=True
    )
    _sort(body.graph)
    model: onnx.ModelProto = compose.merge_models(
        start, compose.add_prefix(body, BODY), io_map=[(middle, BODY + middle)]
    )
    _rename(model.graph, BODY + FEATURES, FEATURES)
    return stamp(model)


def _sort(graph: onnx.GraphProto) -> None:
    """Puts the nodes in an order in which each finds its inputs; the converter appends its own."""
    known = {tensor.name for tensor in (*graph.input, *graph.initializer)} | {""}
    waiting, done = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ValueError(f"{waiting[0].name}: its inputs come from nowhere")
        done.extend(ready)
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del graph.node[:]
    graph.node.extend(done)


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Renames an output of the graph."""
    for names in (names for node in graph.node for names in (node.input, node.output)):
        for place, name in enumerate(names):
            if name == old:
                names[place] = new
    for tensor in graph.output:
        if tensor.name == old:
            tensor.name = new
