"""The feature network as an ONNX graph."""

import logging
import warnings

import onnx
import torch

from boats_export.opset import OPSET, stamp
from boats_runtime.classifier import FEATURES, INPUT
from boats_runtime.preprocessing import Preprocessing


def export_network(network: torch.nn.Module, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Exports a feature network with a dynamic batch.

    Args:
        network: From `(N, H, W, 3) uint8` pixels to `(N, D) float32` features, on the CPU.
        preprocessing: Gives the height and the width.

    Returns:
        A model with the input `image` and the output `features`, BatchNorm folded. It says nothing
        of the code and the folders it was made from.
    """
    # A batch of 2: torch.export takes an example of 1 for a constant (pytorch#157621).
    shape = (2, preprocessing.height, preprocessing.width, 3)
    example = torch.zeros(shape, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode():
        # The exporter warns of its own internals; what it made is compared with PyTorch later.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[FEATURES],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
        )
    if program is None:
        raise AssertionError("torch.onnx.export with dynamo=True returns a program")
    model: onnx.ModelProto = program.model_proto
    stamp(model)
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, model.graph):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def normalised(network: onnx.ModelProto) -> str:
    """Returns the name of the normalised photo `(N, 3, H, W) float32` in an exported network."""
    # The network begins with a transpose, a cast, a subtraction and this division.
    return str(next(node for node in network.graph.node if node.op_type == "Div").output[0])
