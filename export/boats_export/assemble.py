"""One model of network and classifier, checked by ONNX and described by its metadata."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import onnx
from onnx import compose

from boats_export.classifier_graph import BATCH
from boats_export.opset import OPSET, convert_opset
from boats_runtime import __version__
from boats_runtime.model.describe import remove_folders
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.model_session import FEATURES, OUTPUTS
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run

PREFIX = "classifier/"
"""Prefix of the names in the classifier's part of the graph."""


@dataclass(frozen=True)
class Layout:
    """Interface of an exported file.

    Attributes:
        opset: One of `OPSETS`.
        batch: Fixed batch size; None for a dynamic one.
        with_features: Whether the features are an output too.
    """

    opset: int = OPSET
    batch: int | None = None
    with_features: bool = False


def assemble(
    network: onnx.ModelProto, classifier_graph: onnx.ModelProto, layout: Layout
) -> onnx.ModelProto:
    """Join a network and a classifier.

    Args:
        network: Model from `image` to `features`.
        classifier_graph: Model from `features` to `probabilities` and `label`.
        layout: Interface of the file.

    Returns:
        Checked model without metadata, from `image` (batch, H, W, 3) uint8 to `probabilities`
        (batch, K) float32 and `label` (batch,) int64.
    """
    model = compose.merge_models(
        network,
        compose.add_prefix(classifier_graph, PREFIX, rename_outputs=False),
        io_map=[(FEATURES, PREFIX + FEATURES)],
        outputs=list(OUTPUTS),
        name="boats",
        producer_name="boats",
        producer_version=__version__,
    )
    if layout.with_features:
        model.graph.output.append(network.graph.output[0])
    model = convert_opset(model, layout.opset)
    del model.graph.value_info[:]  # inner shapes follow from the input shape
    for tensor in (*model.graph.input, *model.graph.output):
        dimension = tensor.type.tensor_type.shape.dim[0]
        if layout.batch is None:
            dimension.dim_param = BATCH
        else:
            dimension.dim_value = layout.batch
    onnx.checker.check_model(model, full_check=True)
    return model


def build_metadata(run: Run, proof: dict[str, Any]) -> ModelMetadata:
    """Return the metadata of an exported file.

    Args:
        run: Run with the exported classifier.
        proof: Results of the verification as JSON values.

    Returns:
        Metadata with base names and digests instead of the paths of the training machine.
    """
    metrics = dict(run.metrics)
    operating_point = metrics.pop("operating_point", None)
    provenance = {
        "config": run.config.to_json(),
        "data": metrics.pop("data", None),
        "inputs": metrics.pop("inputs", {}),
        "weights": metrics.pop("weights", None),
        "operating_point": operating_point,
        "calibration": describe_calibration(run.estimator),
        "proof": proof,
        "metrics": metrics,
        "training_versions": dict(run.versions),
        "export_versions": {"boats": __version__}
        | {name: version(name) for name in ("onnx", "onnxruntime", "skl2onnx", "torch")},
    }
    threshold = operating_point["threshold"] if operating_point else None
    return ModelMetadata(run.classes, run.preprocessing, threshold, remove_folders(provenance))


def describe_calibration(estimator: Any) -> dict[str, Any]:
    """Return how scores become probabilities, as JSON values."""
    if not isinstance(estimator, CalibratedSVC):
        return {"kind": "softmax of the logits"}
    return {
        "kind": "softmax of slope * score + offset",
        "slope": estimator.slope_,
        "offsets": estimator.offsets_.tolist(),
    }
