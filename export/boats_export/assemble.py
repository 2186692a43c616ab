"""The one file: network and head joined, checked by ONNX, described by its metadata."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import onnx
from onnx import compose

from boats_export.opset import OPSET, convert_opset
from boats_runtime.classifier import FEATURES, INPUT, OUTPUTS
from boats_runtime.model.metadata import ModelMetadata
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run

BATCH = "batch"
HEAD = "head/"


@dataclass(frozen=True)
class Layout:
    """What a file looks like from outside.

    Attributes:
        opset: One of `OPSETS`.
        batch: Photos at once; None for any number.
        with_features: Whether the features are an output too.
    """

    opset: int = OPSET
    batch: int | None = None
    with_features: bool = False


def assemble(network: onnx.ModelProto, head: onnx.ModelProto, layout: Layout) -> onnx.ModelProto:
    """Joins a network and a head.

    Args:
        network: From `image` to `features`.
        head: From `features` to `probabilities` and `label`.
        layout: What the file is to look like.

    Returns:
        A checked model from `image (batch, H, W, 3) uint8` to `probabilities (batch, K) float32`
        and `label (batch,) int64`, without metadata.
    """
    model = compose.merge_models(
        network,
        compose.add_prefix(head, HEAD),
        io_map=[(FEATURES, HEAD + FEATURES)],
        outputs=[HEAD + name for name in OUTPUTS],
        name="boats",
        producer_name="boats",
        producer_version=version("boats"),
    )
    _name_outputs(model)
    if layout.with_features:
        model.graph.output.append(network.graph.output[0])
    del model.graph.value_info[:]  # shapes of the inside, which follow from the input's
    model = convert_opset(model, layout.opset)
    for tensor in (*model.graph.input, *model.graph.output):
        side = tensor.type.tensor_type.shape.dim[0]
        if layout.batch is None:
            side.dim_param = BATCH
        else:
            side.dim_value = layout.batch
    onnx.checker.check_model(model, full_check=True)
    return model


def metadata_of(run: Run, proof: dict[str, Any]) -> ModelMetadata:
    """Returns what the exported file says of itself.

    Args:
        run: With the classifier that is in the file.
        proof: What was compared and measured, JSON values.
    """
    metrics = dict(run.metrics)
    point = metrics.pop("operating_point", None)
    provenance = {
        "config": run.config.to_json(),
        "data": metrics.pop("data", None),
        "operating_point": point,
        "calibration": describe_calibration(run.estimator),
        "proof": proof,
        "metrics": metrics,
        "training_versions": dict(run.versions),
        "export_versions": {
            name: version(name) for name in ("boats", "onnx", "onnxruntime", "skl2onnx", "torch")
        },
    }
    threshold = point["threshold"] if point else None
    return ModelMetadata(run.classes, run.preprocessing, threshold, provenance)


def describe_calibration(estimator: Any) -> dict[str, Any]:
    """Returns how scores become probabilities, as JSON values."""
    if not isinstance(estimator, CalibratedSVC):
        return {"kind": "softmax of the logits"}
    return {
        "kind": "softmax of slope * score + offset",
        "slope": estimator.slope_,
        "offsets": estimator.offsets_.tolist(),
    }


def _name_outputs(model: onnx.ModelProto) -> None:
    """Gives the outputs their own names."""
    model.graph.input[0].name = INPUT
    for output in model.graph.output:
        name = output.name.removeprefix(HEAD)
        model.graph.node.append(onnx.helper.make_node("Identity", [output.name], [name]))
        output.name = name
