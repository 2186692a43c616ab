"""The one file: network and head joined, checked by ONNX, described by its metadata."""

from collections.abc import Mapping
from importlib.metadata import version

import onnx
from onnx import compose

from boats_export.head import export_head
from boats_export.network import FEATURES, export_network
from boats_export.opset import IR_VERSION
from boats_runtime.classifier import INPUT, OUTPUTS
from boats_runtime.metadata import ModelMetadata
from boats_train.run import Run

BATCH = "batch"
HEAD = "head/"


def assemble(run: Run) -> onnx.ModelProto:
    """Joins the network and the estimator of a run.

    Returns:
        A checked model from `image (batch, H, W, 3) uint8` to `probabilities (batch, K) float32`
        and `label (batch,) int64`, with the run's metadata.
    """
    network = export_network(run.network, run.preprocessing)
    width = network.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    head = compose.add_prefix(export_head(run.estimator, width), HEAD)
    model = compose.merge_models(
        network,
        head,
        io_map=[(FEATURES, HEAD + FEATURES)],
        outputs=[HEAD + name for name in OUTPUTS],
        name="boats",
        producer_name="boats",
        producer_version=version("boats"),
    )
    model.ir_version = IR_VERSION
    _name_outputs(model)
    onnx.helper.set_model_props(model, metadata_of(run, None).to_properties())
    onnx.checker.check_model(model, full_check=True)
    return model


def metadata_of(run: Run, parity: Mapping[str, float] | None) -> ModelMetadata:
    """Returns what the exported file says of itself; `parity` is None before it is proved."""
    provenance = {
        "config": run.config.to_json(),
        "parity": parity,
        "metrics": run.metrics,
        "training_versions": dict(run.versions),
        "export_versions": {name: version(name) for name in ("boats", "onnx", "skl2onnx", "torch")},
    }
    return ModelMetadata(run.classes, run.preprocessing, provenance)


def _name_outputs(model: onnx.ModelProto) -> None:
    """Gives the outputs their own names and the same symbolic batch as the input."""
    model.graph.input[0].name = INPUT
    for output in model.graph.output:
        name = output.name.removeprefix(HEAD)
        model.graph.node.append(onnx.helper.make_node("Identity", [output.name], [name]))
        output.name = name
        output.type.tensor_type.shape.dim[0].dim_param = BATCH
