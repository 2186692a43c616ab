import io

import numpy as np
import pytest
from PIL import Image

from boats_runtime.decoding import apply_orientation, decode, read_size
from boats_runtime.errors import ImageError


def encode(format_: str, orientation: int = 0) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 120, 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format_, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(9))
def test_read_size__that_of_the_upright_image(format_: str, orientation: int) -> None:
    content = encode(format_, orientation)
    width, height = apply_orientation(decode(content)).size
    assert read_size(content) == (height, width)


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_read_size__pixels_are_not_read(format_: str) -> None:
    assert read_size(encode(format_)[:1000]) == (40, 120)


@pytest.mark.parametrize("content", [b"", b"text"])
def test_read_size__not_an_image(content: bytes) -> None:
    with pytest.raises(ImageError, match="not an image of a known format"):
        read_size(content)
