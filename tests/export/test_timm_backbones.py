from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch

from boats_data.dataset import scan_dataset
from boats_export.export import Exporter, ExportSettings
from boats_export.network import export_network
from boats_runtime.classifier import Classifier
from boats_runtime.model.describe import create_card, describe_model
from boats_runtime.model.file import check_content
from boats_train.models.backbone import build_backbone, make_preprocessing
from boats_train.models.feature_network import FeatureNetwork
from boats_train.pipeline import TrainingPipeline, Workspace
from boats_train.runs.config import TrainConfig
from boats_train.runs.run import load_run, write_run
from support.networks import save_state

TOLERANCE = 1e-5  # of the largest feature


@pytest.mark.parametrize(
    "name",
    ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "tf_efficientnet_lite0"],
)
def test_export_network__features_of_timm(name: str) -> None:
    torch.manual_seed(0)
    name = f"timm:{name}"
    preprocessing = make_preprocessing(name, 64, 160)
    network = FeatureNetwork(build_backbone(name, (64, 160)), preprocessing)
    model = export_network(network, preprocessing)
    content = model.SerializeToString()
    check_content(content)  # the list of operators is closed
    if "vit" not in name:
        unwanted = {"BatchNormalization", "Gather", "Pad", "Range", "Shape", "Squeeze"}
        assert not unwanted & {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 7):
        generator = torch.Generator().manual_seed(batch)
        pixels = torch.randint(0, 256, (batch, 64, 160, 3), dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            expected = network(pixels).numpy()
        (features,) = session.run(None, {"image": pixels.numpy()})
        largest = np.abs(expected).max()
        np.testing.assert_allclose(features, expected, rtol=0, atol=TOLERANCE * largest)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_export__run_on_timm(
    precision: str, dataset_folder: Path, image_path: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    state = timm.create_model("test_resnet").state_dict()
    weights = save_state(state, tmp_path / "weights.safetensors")
    config = TrainConfig(
        str(dataset_folder), "svm", "timm:test_resnet", str(weights), 64, 160, tune=False
    )
    workspace = Workspace(None, tmp_path / "work", resume=False, log=lambda _: None)
    result = TrainingPipeline(config, scan_dataset(dataset_folder), workspace).run()
    run = load_run(write_run(result.run, tmp_path, "run"))
    assert run.versions["timm"] == timm.__version__
    out = tmp_path / "boats.onnx"
    settings = ExportSettings(precision, max_drop=100.0, allow_lost_classes=True)
    metadata = Exporter(run, settings, lambda _: None).export(out)
    assert metadata.preprocessing.mean == (0.5, 0.5, 0.5)
    assert metadata.provenance["weights"] == {
        "name": "weights.safetensors", "license": "not stated",
    }  # fmt: skip
    line = "  weights   weights.safetensors, license: not stated"
    assert line in list(describe_model(out, metadata))
    assert "| weights | weights.safetensors, license: not stated |" in create_card(out, metadata)
    assert Classifier(out, "cpu").predict(image_path).label in run.classes
