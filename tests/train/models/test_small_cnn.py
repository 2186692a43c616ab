import pytest
import torch
from torch import nn

from boats_runtime.errors import UsageError
from boats_train.models.small_cnn import FEATURES, IMAGE_SIZE, SmallCNN


def test_small_cnn__layers_of_the_report() -> None:
    layers = [layer for layer in SmallCNN(*IMAGE_SIZE).layers if not isinstance(layer, nn.ReLU)]
    assert [type(layer).__name__ for layer in layers] == [
        "Conv2d", "MaxPool2d", "Conv2d", "MaxPool2d", "Dropout", "Flatten", "Linear", "Linear",
    ]  # fmt: skip
    assert layers[0].weight.shape == (30, 3, 5, 5)
    assert layers[2].weight.shape == (15, 30, 3, 3)
    assert layers[4].p == 0.2
    assert [layers[6].out_features, layers[7].out_features] == [128, 50]


@pytest.mark.parametrize("size", [IMAGE_SIZE, (12, 12), (33, 47)])
def test_small_cnn__features(size: tuple[int, int]) -> None:
    assert SmallCNN(*size)(torch.zeros(2, 3, *size)).shape == (2, FEATURES)


def test_small_cnn__images_too_small() -> None:
    with pytest.raises(UsageError, match="--image-size 11x100"):
        SmallCNN(11, 100)
