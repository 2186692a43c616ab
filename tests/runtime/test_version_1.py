"""Files and runs of older versions of boats keep their preprocessing, bit for bit.

`data/version_1.onnx` was written before the preprocessing had a version, and `data/version_1.json`
has the probabilities of that time for `make_images`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_runtime.classifier import Classifier
from boats_runtime.decoding import apply_orientation, decode
from boats_runtime.model.file import read_model
from boats_runtime.preprocessing import Preprocessing
from support.encoded_images import encode_image, make_exif, make_noise

DATA = Path(__file__).with_name("data")


def make_images() -> list[bytes]:
    """Return images that old and new versions of Pillow resize alike."""
    return [
        encode_image(make_noise(400, 200), "PNG"),
        encode_image(make_noise(60, 20).resize((1200, 480)), "JPEG", quality=90),
    ]


def test_read_model__file_without_a_preprocessing_version() -> None:
    metadata = read_model(DATA / "version_1.onnx").metadata
    assert metadata.preprocessing == Preprocessing(64, 160, version=1)
    properties = metadata.to_properties()
    assert properties["boats.schema_version"] == "1"
    assert "version" not in json.loads(properties["boats.preprocessing"])


def test_predict__file_without_a_preprocessing_version() -> None:
    expected = json.loads((DATA / "version_1.json").read_text())
    with Classifier(DATA / "version_1.onnx", "cpu") as classifier:
        pixels = np.stack([classifier.prepare(content) for content in make_images()])
        probabilities, _ = classifier.run(pixels)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [(1600, 1200), (300, 2000), (20, 30), (100, 1500)])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_read__version_1_resizes_all_pixels_in_one_call(
    file_format: str, size: tuple[int, int], orientation: int
) -> None:
    content = encode_image(make_noise(*size), file_format, exif=make_exif(orientation))
    upright = apply_orientation(decode(content))
    expected = np.asarray(upright.resize((160, 64), Image.Resampling.BILINEAR))
    pixels = Preprocessing(64, 160, version=1).read(content)
    np.testing.assert_array_equal(pixels, expected)
