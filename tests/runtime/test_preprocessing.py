import io
import json
import struct
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image, ImageOps

from boats_runtime.errors import ImageError, ModelError
from boats_runtime.preprocessing import Preprocessing, apply_orientation, convert_to_rgb, decode
from support.encoded_images import (
    LOSSLESS_OPTIONS,
    ORIENTATION,
    encode_image,
    make_exif,
    make_noise,
)


def make_plain(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (4, 4), color)


def make_palette() -> Image.Image:
    """An image with palette color 1 only."""
    image = make_plain("P", 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image


def make_gray16(value: int) -> Image.Image:
    return Image.fromarray(np.full((4, 4), value, np.uint16))


# --- modes

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


# --- size


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (801, 239), (37, 53)])
def test_apply__shape_and_type(size: tuple[int, int]) -> None:
    pixels = Preprocessing(240, 800).apply(make_noise(*size))
    assert pixels.shape == (240, 800, 3)
    assert pixels.dtype == np.uint8


def test_apply__same_size_keeps_the_pixels() -> None:
    image = make_noise(31, 17)
    np.testing.assert_array_equal(Preprocessing(17, 31).apply(image), np.asarray(image))


def test_apply__shrinking_averages() -> None:
    checkerboard = (np.indices((40, 40)).sum(axis=0) % 2 * 255).astype(np.uint8)
    inner = Preprocessing(5, 5).apply(Image.fromarray(checkerboard))[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() <= 2


def test_apply__stretches_and_never_crops() -> None:
    image = Image.new("RGB", (300, 100))
    image.paste("red", (0, 0, 100, 100))
    image.paste("blue", (200, 0, 300, 100))
    pixels = Preprocessing(30, 30).apply(image)
    assert pixels[15, [4, 15, 25]].tolist() == [[255, 0, 0], [0, 0, 0], [0, 0, 255]]


# --- orientation


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_apply__orientation_as_in_pillow(orientation: int, file_format: str) -> None:
    options = LOSSLESS_OPTIONS[file_format]
    content = encode_image(make_noise(24, 10), file_format, exif=make_exif(orientation), **options)
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image)
    assert upright.size == ((24, 10) if orientation < 5 else (10, 24))
    expected = np.asarray(upright.resize((16, 12), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(Preprocessing(12, 16).apply(decode(content)), expected)


def test_apply_orientation__orientation_6_moves_the_left_side_to_the_top() -> None:
    stored = Image.new("RGB", (20, 10), "blue")
    stored.paste("red", (0, 0, 10, 10))
    upright = apply_orientation(decode(encode_image(stored, "PNG", exif=make_exif(6))))
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2)) == (255, 0, 0)
    assert upright.getpixel((5, 17)) == (0, 0, 255)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_apply_orientation__unknown_value_is_ignored(orientation: int) -> None:
    image = make_noise(24, 10)
    upright = apply_orientation(decode(encode_image(image, "PNG", exif=make_exif(orientation))))
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(image))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"MM\x7f*\0\0\0\x08", b"II*\0\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_apply__damaged_exif_is_ignored(file_format: str, damage: bytes) -> None:
    options = LOSSLESS_OPTIONS[file_format]
    damaged, expected = (
        Preprocessing(10, 24).apply(decode(encode_image(make_noise(24, 10), file_format, **fields)))
        for fields in (options | {"exif": b"Exif\0\0" + damage}, options)
    )
    np.testing.assert_array_equal(damaged, expected)


def test_apply__another_malformed_tag_keeps_the_orientation() -> None:
    # Little-endian directory entries of 12 bytes. Pillow can read a width that is a floating-point
    # number, but cannot write it back.
    orientation = struct.pack("<HHII", ORIENTATION, 3, 1, 6)
    width = struct.pack("<HHIf", 0x0100, 11, 1, 1.5)
    blocks = (
        b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4)
        for entries, count in ((orientation, 1), (width + orientation, 2))
    )
    preprocessing = Preprocessing(24, 10)
    valid, malformed = (
        preprocessing.apply(decode(encode_image(make_noise(24, 10), "JPEG", exif=block)))
        for block in blocks
    )
    np.testing.assert_array_equal(malformed, valid)
    stored = preprocessing.apply(decode(encode_image(make_noise(24, 10), "JPEG")))
    assert not np.array_equal(valid, stored)


# --- Preprocessing


@pytest.mark.parametrize("side", [0, -1, 8193, True, 2.0, "240", None])
@pytest.mark.parametrize("name", ["height", "width"])
def test_preprocessing__side_out_of_range(name: str, side: object) -> None:
    with pytest.raises(ModelError, match=name):
        Preprocessing(**{"height": 8, "width": 8, name: side})


@pytest.mark.parametrize("side", [1, 8192])
def test_preprocessing__smallest_and_largest_side(side: int) -> None:
    assert Preprocessing(side, side).height == side


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(
            (name, values)
            for name in ("mean", "std")
            for values in (
                (), (0.5, 0.5), (0.5,) * 4, (0.5, 0.5, 1), (0.5, 0.5, 1.1), (0.5, 0.5, -0.1),
                (0.5, 0.5, float("nan")), (0.5, 0.5, "0.5"),
            )
        ),
        ("std", (0.5, 0.0, 0.5)),
    ],
)  # fmt: skip
def test_preprocessing__channels_out_of_range(name: str, values: tuple[object, ...]) -> None:
    with pytest.raises(ModelError, match=name):
        Preprocessing(8, 8, **{name: values})


@pytest.mark.parametrize(
    "change", [{"resampling": "nearest"}, {"color": "BGR"}, {"exif": False}], ids=str
)
def test_preprocessing__unsupported_value(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="only bilinear RGB"):
        Preprocessing(8, 8, **change)


FIELDS = json.loads(json.dumps(asdict(Preprocessing(8, 8))))


def test_from_json__round_trip() -> None:
    preprocessing = Preprocessing(17, 31, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 1.0))
    restored = Preprocessing.from_json(json.loads(json.dumps(asdict(preprocessing))))
    assert restored == preprocessing


@pytest.mark.parametrize(
    "value",
    [
        *({key: FIELDS[key] for key in FIELDS if key != missing} for missing in FIELDS),
        FIELDS | {"crop": 0.9},
        None,
        [],
        "preprocessing",
        3,
    ],
)
def test_from_json__other_keys(value: object) -> None:
    with pytest.raises(ModelError, match="expected the keys"):
        Preprocessing.from_json(value)


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("value", [0.5, "0.5", {"r": 0.5}, None])
def test_from_json__channels_are_not_a_list(name: str, value: object) -> None:
    with pytest.raises(ModelError, match=f"{name} is not a list"):
        Preprocessing.from_json(FIELDS | {name: value})
