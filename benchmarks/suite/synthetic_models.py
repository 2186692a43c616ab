"""Exported models with random weights, made as by boats-export: a network with an SVM.

Weights and images do not change the latency. Accuracy is not measured on these models. Scripts that
run one after another share the networks if SYNTHETIC_MODELS names a folder for them.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from boats_data.dataset import scan_dataset
from boats_data.synthetic import write_demo_data
from boats_export.assemble import Layout, assemble
from boats_export.classifier_graph import export_classifier
from boats_export.fp16 import convert_to_fp16
from boats_export.network import export_network
from boats_export.quantize import Quantizer, Setting, resolve_target
from boats_export.space_to_depth import apply_space_to_depth
from boats_export.verification_images import VerificationImages
from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from suite.synthetic_svm import CLASSES, fit_calibrated_svms

PREPROCESSING = Preprocessing(240, 800)
PRECISIONS = ("fp32", "fp16", "int8")


def load_networks(
    backbone: str, preprocessing: Preprocessing = PREPROCESSING
) -> dict[str, onnx.ModelProto]:
    """Return a network from `image` to `features` in each of the `PRECISIONS`."""
    cache = os.environ.get("SYNTHETIC_MODELS")
    if cache is None:
        return _export_networks(backbone, preprocessing)
    name = f"{backbone}-{preprocessing.height}x{preprocessing.width}"
    paths = {precision: Path(cache, f"{name}-{precision}.onnx") for precision in PRECISIONS}
    if not all(path.is_file() for path in paths.values()):
        for precision, network in _export_networks(backbone, preprocessing).items():
            onnx.save(network, paths[precision])
    return {precision: onnx.load(path) for precision, path in paths.items()}


def _export_networks(backbone: str, preprocessing: Preprocessing) -> dict[str, onnx.ModelProto]:
    network = export_network(FeatureNetwork(build_backbone(backbone), preprocessing), preprocessing)
    return {
        "fp32": network,
        "fp16": convert_to_fp16(copy_model(network)),
        "int8": quantize(apply_space_to_depth(network), preprocessing),
    }


def copy_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def count_features(network: onnx.ModelProto) -> int:
    """Return the number of features of a network."""
    return int(network.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def make_pixels(batch: int = 1) -> NDArray[np.uint8]:
    """Return random inputs of a network, (batch, H, W, 3) uint8."""
    shape = (batch, PREPROCESSING.height, PREPROCESSING.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def add_svm(network: onnx.ModelProto) -> onnx.ModelProto:
    """Add the synthetic SVM to a network."""
    width = count_features(network)
    calibrated, _ = fit_calibrated_svms(width)
    return assemble(network, export_classifier(calibrated, width, fp16=True), Layout())


def write_model(
    network: onnx.ModelProto, path: Path, preprocessing: Preprocessing = PREPROCESSING
) -> Path:
    """Write a network with the synthetic SVM as an exported file and return its path."""
    model = add_svm(network)
    metadata = ModelMetadata(tuple(f"class {n:02}" for n in range(CLASSES)), preprocessing)
    onnx.helper.set_model_props(model, metadata.to_properties())
    path.write_bytes(write_digest(model.SerializeToString()))
    return path


def quantize(
    network: onnx.ModelProto, preprocessing: Preprocessing = PREPROCESSING
) -> onnx.ModelProto:
    """Quantize a network with ranges from synthetic images."""
    target = resolve_target("auto")
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "images")
        write_demo_data(data, counts={"ferry": (8, 1, 1), "water": (8, 1, 1)})
        images = VerificationImages(scan_dataset(data).splits["train"], preprocessing)
        quantizer = Quantizer(network, images, target, 0, Path(scratch))
        return quantizer.quantize(Setting("minmax", target)).model


def draw_images(folder: Path, count: int) -> list[Path]:
    """Draw images of 800x240 pixels into a new folder and return their paths."""
    write_demo_data(folder, counts={"ferry": (count, 1, 1), "water": (1, 1, 1)})
    return sorted((folder / "train" / "ferry").iterdir())
