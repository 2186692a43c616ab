import numpy as np
import onnx
import onnx.utils
import onnxruntime
import pytest
import torch
from torch import nn

from boats_export.network import export_network, normalization_output
from boats_export.opset import IR_VERSION, OPSET
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork

SIZE = Preprocessing(64, 160)
TOLERANCE = 1e-4  # of the largest feature


BACKBONES = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
    "efficientnet_b0", "convnext_tiny",
)  # fmt: skip


@pytest.fixture(scope="module", params=BACKBONES)
def network(request: pytest.FixtureRequest) -> FeatureNetwork:
    torch.manual_seed(0)
    backbone = build_backbone(request.param)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: folding it changes the weights
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return FeatureNetwork(backbone, SIZE)


@pytest.fixture(scope="module")
def model(network: FeatureNetwork) -> onnx.ModelProto:
    return export_network(network, SIZE)


@pytest.fixture(scope="module")
def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_export_network__features_of_pytorch(
    network: FeatureNetwork, session: onnxruntime.InferenceSession, batch: int
) -> None:
    generator = torch.Generator().manual_seed(batch)
    pixels = torch.randint(0, 256, (batch, 64, 160, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = network(pixels).numpy()
    (features,) = session.run(None, {"image": pixels.numpy()})
    largest = np.abs(expected).max()
    assert largest > 0
    np.testing.assert_allclose(features, expected, rtol=0, atol=TOLERANCE * largest)


def test_export_network__interface(session: onnxruntime.InferenceSession) -> None:
    (image,) = session.get_inputs()
    (features,) = session.get_outputs()
    assert (image.name, image.type, image.shape[1:]) == ("image", "tensor(uint8)", [64, 160, 3])
    assert (features.name, features.type) == ("features", "tensor(float)")
    assert isinstance(image.shape[0], str)  # a name: any batch
    assert isinstance(features.shape[0], str)
    assert isinstance(features.shape[1], int)


def test_export_network__one_file_of_known_versions(model: onnx.ModelProto) -> None:
    assert model.ir_version == IR_VERSION
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_export_network__folds_batchnorm_and_pools_by_a_mean(model: onnx.ModelProto) -> None:
    unwanted = {"BatchNormalization", "Gather", "Range", "Shape", "Squeeze"}
    assert not unwanted & {node.op_type for node in model.graph.node}


def test_normalization_output__normalized_image(
    network: FeatureNetwork, model: onnx.ModelProto
) -> None:
    pixels = torch.randint(0, 256, (1, 64, 160, 3), dtype=torch.uint8)
    name = normalization_output(model)
    model = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(
        ["image"], [name]
    )
    (image,) = onnxruntime.InferenceSession(model.SerializeToString()).run(
        None, {"image": pixels.numpy()}
    )
    expected = (pixels.permute(0, 3, 1, 2) - network.mean) / network.std
    np.testing.assert_allclose(image, expected.numpy(), rtol=0, atol=1e-5)
