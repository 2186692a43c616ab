"""ONNX graph of the feature network."""

import logging
import warnings

import onnx
import torch

from boats_export.opset import OPSET, set_versions
from boats_runtime.model_session import FEATURES, INPUT
from boats_runtime.preprocessing import Preprocessing


def export_network(network: torch.nn.Module, preprocessing: Preprocessing) -> onnx.ModelProto:
    """Export a feature network with a dynamic batch size.

    Args:
        network: Module on the CPU, from (N, H, W, 3) uint8 pixels to (N, D) float32 features.
        preprocessing: Preprocessing that gives the height and width.

    Returns:
        Model with the input `image` and the output `features`, BatchNorm folded, without debug
        information about the code and the folders that it was exported from.
    """
    # A batch of 2: torch.export takes an example of 1 for a constant (pytorch#157621).
    shape = (2, preprocessing.height, preprocessing.width, 3)
    example = torch.zeros(shape, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode():
        # The exporter warns about its own internals. The result is compared with PyTorch later.
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
    model = set_versions(program.model_proto)
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, model.graph):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def normalization_output(network: onnx.ModelProto) -> str:
    """Return the name of the normalized image, (N, 3, H, W) float32, in an exported network."""
    # The network begins with a transpose, a cast, a subtraction and this division.
    return str(next(node for node in network.graph.node if node.op_type == "Div").output[0])
