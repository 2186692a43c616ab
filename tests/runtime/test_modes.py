"""Images of every mode of Pillow become RGB."""

import numpy as np
import pytest
from PIL import Image

from boats_runtime.decoding import decode
from boats_runtime.errors import ImageError
from boats_runtime.preprocessing import Preprocessing, convert_to_rgb
from support.encoded_images import encode_image, make_noise


def make_plain(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (4, 4), color)


def make_palette() -> Image.Image:
    """An image with palette color 1 only."""
    image = make_plain("P", 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image


def make_palette_alpha(alpha: int) -> Image.Image:
    image = make_palette().convert("PA")
    image.putalpha(alpha)
    return image


def make_gray16(value: int) -> Image.Image:
    return Image.fromarray(np.full((4, 4), value, np.uint16))


WHITE = (255, 255, 255)
MODES = {
    "L": (encode_image(make_plain("L", 100), "JPEG"), (100, 100, 100)),
    "LA": (encode_image(make_plain("LA", (100, 255)), "PNG"), (100, 100, 100)),
    "LA transparent": (encode_image(make_plain("LA", (0, 0)), "PNG"), WHITE),
    "LA 20% opaque": (encode_image(make_plain("LA", (0, 51)), "PNG"), (204, 204, 204)),
    "P": (encode_image(make_palette(), "PNG"), (200, 100, 50)),
    "P opaque": (encode_image(make_palette(), "PNG", transparency=b"\0\xff"), (200, 100, 50)),
    "P transparent": (encode_image(make_palette(), "PNG", transparency=1), WHITE),
    "P 20% opaque": (
        encode_image(make_palette(), "PNG", transparency=b"\xff\x33"),
        (244, 224, 214),
    ),
    "RGB": (encode_image(make_plain("RGB", (1, 2, 3)), "PNG"), (1, 2, 3)),
    "RGB transparent": (
        encode_image(make_plain("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        WHITE,
    ),
    "RGBA": (encode_image(make_plain("RGBA", (9, 8, 7, 255)), "PNG"), (9, 8, 7)),
    "RGBA 40% opaque": (
        encode_image(make_plain("RGBA", (200, 0, 0, 102)), "WEBP", lossless=True),
        (233, 153, 153),
    ),
    "CMYK": (encode_image(make_plain("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
    "CMYK JPEG": (
        encode_image(make_plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=100),
        (0, 255, 255),
    ),
    "YCbCr": (encode_image(make_plain("YCbCr", (76, 85, 255)), "JPEG"), (254, 0, 0)),
    "I;16": (encode_image(make_gray16(0x80FF), "PNG"), (128, 128, 128)),
    "I;16 white": (encode_image(make_gray16(0xFFFF), "PNG"), WHITE),
    "I;16 dark": (encode_image(make_gray16(0x00FF), "TIFF"), (0, 0, 0)),
    "1 white": (encode_image(make_plain("1", 1), "PNG"), WHITE),
    "1 black": (encode_image(make_plain("1", 0), "TIFF"), (0, 0, 0)),
}  # fmt: skip


PILLOW_MODES: dict[str, tuple[Image.Image, tuple[int, int, int]]] = {
    "1": (make_plain("1", 1), WHITE),
    "LA": (make_plain("LA", (0, 51)), (204, 204, 204)),
    "PA": (make_palette_alpha(51), (244, 224, 214)),
    "RGBa": (make_plain("RGBA", (200, 0, 0, 102)).convert("RGBa"), (233, 153, 153)),
    "CMYK": (make_plain("CMYK", (0, 255, 255, 0)), (255, 0, 0)),
    "YCbCr": (make_plain("YCbCr", (76, 85, 255)), (254, 0, 0)),
    "HSV": (make_plain("HSV", (0, 255, 255)), (255, 0, 0)),
    "LAB": (make_plain("LAB", (255, 128, 128)), (254, 255, 254)),
    "I": (make_plain("I", 0x80FF), (128, 128, 128)),
    "I;16": (make_plain("I;16", 0x00FF), (0, 0, 0)),
    "I;16B": (make_plain("I;16B", 0x80FF), (128, 128, 128)),
}


@pytest.mark.parametrize("mode", MODES)
def test_apply__every_mode(mode: str) -> None:
    content, expected = MODES[mode]
    image = decode(content)
    pixels = Preprocessing(3, 5).apply(image)
    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8
    # 2 is the rounding error of JPEG.
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert image.mode == mode.split(maxsplit=1)[0] or mode == "YCbCr"


@pytest.mark.parametrize("mode", PILLOW_MODES)
def test_convert_to_rgb__modes_of_pillow(mode: str) -> None:
    image, expected = PILLOW_MODES[mode]
    assert image.mode == mode
    assert convert_to_rgb(image).getpixel((0, 0)) == expected


def test_convert_to_rgb__premultiplied_gray_is_refused() -> None:
    image = make_plain("LA", (100, 51)).convert("La")
    with pytest.raises(ImageError, match=r"mode La.* save it without premultiplied alpha"):
        Preprocessing(4, 4).apply(image)


@pytest.mark.parametrize(
    ("largest", "version", "expected"),
    [
        (255, 2, [100, 255]),
        (256, 2, [0, 1]),
        (255, 1, [0, 0]),
        (25600, 2, [0, 100]),
    ],
)
def test_convert_to_rgb__range_of_mode_i(largest: int, version: int, expected: list[int]) -> None:
    image = Image.fromarray(np.array([[100, largest]], np.int32))
    assert image.mode == "I"
    assert np.asarray(convert_to_rgb(image, version))[0, :, 0].tolist() == expected


def test_read__8_bits_in_a_tiff_file_of_mode_i() -> None:
    content = encode_image(Image.fromarray(np.full((4, 4), 200, np.int32)), "TIFF")
    assert decode(content).mode == "I"
    assert (Preprocessing(4, 4).read(content) == 200).all()


@pytest.mark.parametrize(("value", "expected"), [(-5, 0), (70000, 255)])
def test_convert_to_rgb__wide_integers_are_clipped(value: int, expected: int) -> None:
    assert (np.asarray(convert_to_rgb(Image.new("I", (2, 2), value))) == expected).all()


def test_apply__big_endian_16_bits() -> None:
    pixels = Preprocessing(2, 2).apply(Image.new("I;16B", (2, 2), 0x4000))
    assert (pixels == 64).all()


def test_apply__floating_point_is_refused() -> None:
    image = decode(encode_image(make_noise(8, 8, "F"), "TIFF"))
    with pytest.raises(ImageError, match="8 or 16 bits"):
        Preprocessing(4, 4).apply(image)
