"""Model files to measure: real networks with random weights and an SVM, made as boats-export does.

Neither weights nor photos change how long a product takes; accuracy is not measured on these.
Scripts that run one after the other share them: MADE_MODELS names a folder that keeps them.
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
from boats_export.quantize import Setting, open_quantizer, resolve_target
from boats_export.space_to_depth import apply_space_to_depth
from boats_export.verification_images import VerificationImages
from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from svm_graph import CLASSES, fit

PREPROCESSING = Preprocessing(240, 800)


def make_networks(backbone: str) -> dict[str, onnx.ModelProto]:
    """Makes a network from `image` to `features`, by precision: fp32, fp16 and int8."""
    kept = os.environ.get("MADE_MODELS")
    if kept is None:
        return _make_networks(backbone)
    files = {name: Path(kept) / f"{backbone}-{name}.onnx" for name in ("fp32", "fp16", "int8")}
    if not all(path.is_file() for path in files.values()):
        for name, network in _make_networks(backbone).items():
            onnx.save(network, files[name])
    return {name: onnx.load(path) for name, path in files.items()}


def _make_networks(backbone: str) -> dict[str, onnx.ModelProto]:
    network = export_network(FeatureNetwork(build_backbone(backbone), PREPROCESSING), PREPROCESSING)
    half = onnx.ModelProto()
    half.CopyFrom(network)
    return {
        "fp32": network,
        "fp16": convert_to_fp16(half),
        "int8": quantize(apply_space_to_depth(network)),
    }


def count_features(network: onnx.ModelProto) -> int:
    """Returns D, the width of a network's features."""
    return int(network.graph.output[0].type.tensor_type.shape.dim[1].dim_value)


def make_pixels(batch: int = 1) -> NDArray[np.uint8]:
    """Makes up photos `(batch, H, W, 3) uint8` as the network takes them, always the same."""
    shape = (batch, PREPROCESSING.height, PREPROCESSING.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def add_svm(network: onnx.ModelProto) -> onnx.ModelProto:
    """Adds an SVM of `CLASSES` classes to a network."""
    width = count_features(network)
    return assemble(network, export_classifier(fit(width)[1], width, fp16=True), Layout())


def make_file(network: onnx.ModelProto, path: Path) -> Path:
    """Writes a network with an SVM as a file that the runtime takes."""
    model = add_svm(network)
    metadata = ModelMetadata(tuple(f"class {n:02}" for n in range(CLASSES)), PREPROCESSING)
    onnx.helper.set_model_props(model, metadata.to_properties())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_digest(model.SerializeToString()))
    return path


def quantize(network: onnx.ModelProto) -> onnx.ModelProto:
    """Quantises a network on drawn photos; ranges don't change how long it takes."""
    with tempfile.TemporaryDirectory() as passing:
        data = Path(passing) / "drawn"
        write_demo_data(data, counts={"ferry": (8, 1, 1), "water": (8, 1, 1)})
        split = scan_dataset(data).splits["train"]
        images = VerificationImages(split, PREPROCESSING)
        with open_quantizer(network, images, resolve_target("auto"), 0) as quantizer:
            return quantizer.quantize(Setting("minmax", resolve_target("auto"))).model


def draw_photos(folder: Path, count: int) -> list[Path]:
    """Draws photos of 800x240 into a new folder, and returns their files."""
    write_demo_data(folder, counts={"ferry": (count, 1, 1), "water": (1, 1, 1)})
    return sorted((folder / "train" / "ferry").iterdir())
