import io
import json
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from boats_runtime.decoding import apply_orientation, decode
from boats_runtime.errors import ModelError
from boats_runtime.preprocessing import Preprocessing
from support.encoded_images import (
    LOSSLESS_OPTIONS,
    ORIENTATION,
    encode_image,
    make_exif,
    make_noise,
)

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


def test_apply__extremely_tall_image_does_not_grow_first(monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_noise(2, 3000)
    expected = image.resize((2, 20), Image.Resampling.BILINEAR)
    expected = expected.resize((40, 20), Image.Resampling.BILINEAR)
    # 40 x 3000 pixels are more than twice as many.
    monkeypatch.setattr("boats_runtime.preprocessing.MAX_PIXELS", 50_000)
    np.testing.assert_array_equal(Preprocessing(20, 40).apply(image), np.asarray(expected))


# --- orientation


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_apply__orientation_as_in_pillow(orientation: int, file_format: str) -> None:
    options = LOSSLESS_OPTIONS[file_format]
    content = encode_image(make_noise(24, 10), file_format, exif=make_exif(orientation), **options)
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image)
    assert upright.size == ((24, 10) if orientation < 5 else (10, 24))
    widened = upright.resize((16, upright.height), Image.Resampling.BILINEAR)
    expected = np.asarray(widened.resize((16, 12), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(Preprocessing(12, 16).apply(decode(content)), expected)


def test_apply__tiff_file_that_is_not_decoded_yet() -> None:
    content = encode_image(make_noise(24, 10), "TIFF", exif=make_exif(6))
    preprocessing = Preprocessing(12, 16)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(preprocessing.apply(image), preprocessing.read(content))


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


FIELDS = json.loads(json.dumps(Preprocessing(8, 8).to_json()))


def test_from_json__round_trip() -> None:
    preprocessing = Preprocessing(17, 31, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 1.0))
    restored = Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json())))
    assert restored == preprocessing


@pytest.mark.parametrize(
    "value",
    [
        *(
            {key: FIELDS[key] for key in FIELDS if key != missing}
            for missing in FIELDS
            if missing != "version"
        ),
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


@pytest.mark.parametrize("version", [3, 100])
def test_from_json__newer_version(version: int) -> None:
    for value in (FIELDS | {"version": version}, {"version": version, "crop": 0.9}):
        with pytest.raises(ModelError, match=f"version {version}.* install a newer boats"):
            Preprocessing.from_json(value)


@pytest.mark.parametrize("version", [0, -1, True, 2.0, "2", None])
def test_from_json__malformed_version(version: object) -> None:
    with pytest.raises(ModelError, match=r"^preprocessing: version is .*, expected 1 to 2"):
        Preprocessing.from_json(FIELDS | {"version": version})
