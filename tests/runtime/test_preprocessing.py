import gc
import io
import json
import struct
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps, features

from boats_runtime import preprocessing as preprocess
from boats_runtime.errors import ImageError, ModelError
from boats_runtime.preprocessing import MAX_PIXELS, Preprocessing, decode, to_rgb, turn

ORIENTATION = 0x0112
ALL_FORMATS: dict[str, dict[str, object]] = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
}

# The commands silence Pillow's warnings of damage: the photo's own error says it.
pillow_may_warn = pytest.mark.filterwarnings("ignore::UserWarning")


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def plain(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (4, 4), colour)


def palette() -> Image.Image:
    """A photo of palette colour 1 alone."""
    image = plain("P", 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image


def grey16(value: int) -> Image.Image:
    return Image.fromarray(np.full((4, 4), value, np.uint16))


def png_header(width: int, height: int) -> bytes:
    """A small PNG that says it is large."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def exif(entries: bytes, count: int) -> bytes:
    """An EXIF block of little-endian directory entries of 12 bytes."""
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4)


# --- modes

MODES = {
    "L": (encode(plain("L", 100), "JPEG"), (100, 100, 100)),
    "LA": (encode(plain("LA", (100, 255)), "PNG"), (100, 100, 100)),
    "LA clear": (encode(plain("LA", (0, 0)), "PNG"), (255, 255, 255)),
    "LA in part": (encode(plain("LA", (0, 51)), "PNG"), (204, 204, 204)),
    "P": (encode(palette(), "PNG"), (200, 100, 50)),
    "P opaque": (encode(palette(), "PNG", transparency=b"\0\xff"), (200, 100, 50)),
    "P clear": (encode(palette(), "PNG", transparency=1), (255, 255, 255)),
    "P in part": (encode(palette(), "PNG", transparency=b"\xff\x33"), (244, 224, 214)),
    "RGB": (encode(plain("RGB", (1, 2, 3)), "PNG"), (1, 2, 3)),
    "RGB clear": (
        encode(plain("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
        (255, 255, 255),
    ),
    "RGBA": (encode(plain("RGBA", (9, 8, 7, 255)), "PNG"), (9, 8, 7)),
    "RGBA in part": (
        encode(plain("RGBA", (200, 0, 0, 102)), "WEBP", lossless=True),
        (233, 153, 153),
    ),
    "CMYK": (encode(plain("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
    "CMYK JPEG": (encode(plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=100), (0, 255, 255)),
    "YCbCr": (encode(plain("YCbCr", (76, 85, 255)), "JPEG"), (254, 0, 0)),
    "I;16": (encode(grey16(0x80FF), "PNG"), (128, 128, 128)),
    "I;16 white": (encode(grey16(0xFFFF), "PNG"), (255, 255, 255)),
    "I;16 dark": (encode(grey16(0x00FF), "TIFF"), (0, 0, 0)),
    "1 white": (encode(plain("1", 1), "PNG"), (255, 255, 255)),
    "1 black": (encode(plain("1", 0), "TIFF"), (0, 0, 0)),
}


@pytest.mark.parametrize("mode", MODES)
def test_apply__every_mode(mode: str) -> None:
    content, expected = MODES[mode]
    photo = decode(content)
    pixels = Preprocessing(3, 5).apply(photo)
    assert pixels.shape == (3, 5, 3)
    assert pixels.dtype == np.uint8
    # 2: what a JPEG's rounding may cost.
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert photo.mode == mode.split(maxsplit=1)[0] or mode == "YCbCr"


@pytest.mark.parametrize("value", [-5, 70000])
def test_to_rgb__wide_integers_are_clipped(value: int) -> None:
    grey = np.asarray(to_rgb(Image.new("I", (2, 2), value)))
    assert (grey == (0 if value < 0 else 255)).all()


def test_apply__big_endian_16_bits() -> None:
    pixels = Preprocessing(2, 2).apply(Image.new("I;16B", (2, 2), 0x4000))
    assert (pixels == 64).all()


def test_apply__floating_point_is_refused() -> None:
    photo = decode(encode(noise(8, 8, "F"), "TIFF"))
    with pytest.raises(ImageError, match="8 or 16 bits"):
        Preprocessing(4, 4).apply(photo)


# --- size


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (800, 240), (801, 239), (37, 53)])
def test_apply__shape_and_type(size: tuple[int, int]) -> None:
    pixels = Preprocessing(240, 800).apply(noise(*size))
    assert pixels.shape == (240, 800, 3)
    assert pixels.dtype == np.uint8


def test_apply__own_size_is_left_alone() -> None:
    photo = noise(31, 17)
    np.testing.assert_array_equal(Preprocessing(17, 31).apply(photo), np.asarray(photo))


def test_apply__shrinking_averages() -> None:
    checks = (np.indices((40, 40)).sum(axis=0) % 2 * 255).astype(np.uint8)
    inner = Preprocessing(5, 5).apply(Image.fromarray(checks))[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() <= 2


def test_apply__stretches_and_never_crops() -> None:
    photo = Image.new("RGB", (300, 100))
    photo.paste("red", (0, 0, 100, 100))
    photo.paste("blue", (200, 0, 300, 100))
    pixels = Preprocessing(30, 30).apply(photo)
    assert pixels[15, 4].tolist() == [255, 0, 0]
    assert pixels[15, 15].tolist() == [0, 0, 0]
    assert pixels[15, 25].tolist() == [0, 0, 255]


# --- orientation


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_apply__orientation_as_pillow_turns(orientation: int, file_format: str) -> None:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    options = ALL_FORMATS[file_format]
    content = encode(noise(24, 10), file_format, exif=tags.tobytes(), **options)
    with Image.open(io.BytesIO(content)) as photo:
        upright = ImageOps.exif_transpose(photo)
    assert upright.size == ((24, 10) if orientation < 5 else (10, 24))
    expected = np.asarray(upright.resize((16, 12), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(Preprocessing(12, 16).apply(decode(content)), expected)


def test_turn__orientation_6_brings_the_left_to_the_top() -> None:
    stored = Image.new("RGB", (20, 10), "blue")
    stored.paste("red", (0, 0, 10, 10))
    tags = Image.Exif()
    tags[ORIENTATION] = 6
    upright = turn(decode(encode(stored, "PNG", exif=tags.tobytes())))
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2)) == (255, 0, 0)
    assert upright.getpixel((5, 17)) == (0, 0, 255)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_turn__unknown_orientation_is_none(orientation: int) -> None:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    photo = noise(24, 10)
    upright = turn(decode(encode(photo, "PNG", exif=tags.tobytes())))
    np.testing.assert_array_equal(np.asarray(upright), np.asarray(photo))


@pillow_may_warn
@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"MM\x7f*\0\0\0\x08", b"II*\0\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_apply__damaged_exif_is_none(file_format: str, damage: bytes) -> None:
    photo = noise(24, 10)
    options = ALL_FORMATS[file_format]
    damaged = decode(encode(photo, file_format, exif=b"Exif\0\0" + damage, **options))
    plain = decode(encode(photo, file_format, **options))
    preprocessing = Preprocessing(10, 24)
    np.testing.assert_array_equal(preprocessing.apply(damaged), preprocessing.apply(plain))


def test_apply__malformed_other_tag_keeps_the_orientation() -> None:
    orientation = struct.pack("<HHII", ORIENTATION, 3, 1, 6)
    # The width as floating point: Pillow reads it, and can't write it back.
    width = struct.pack("<HHIf", 0x0100, 11, 1, 1.5)
    preprocessing = Preprocessing(24, 10)
    good, malformed = (
        preprocessing.apply(decode(encode(noise(24, 10), "JPEG", exif=block)))
        for block in (exif(orientation, 1), exif(width + orientation, 2))
    )
    np.testing.assert_array_equal(malformed, good)
    assert not np.array_equal(good, preprocessing.apply(decode(encode(noise(24, 10), "JPEG"))))


# --- files


@pytest.mark.parametrize("file_format", ALL_FORMATS)
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.txt", "photo"])
def test_decode__content_counts_not_the_name(tmp_path: Path, name: str, file_format: str) -> None:
    path = tmp_path / name
    path.write_bytes(encode(noise(8, 6), file_format))
    assert decode(path).size == (8, 6)


def test_decode__path_bytes_and_stream_are_the_same(image_path: Path) -> None:
    content = image_path.read_bytes()
    with image_path.open("rb") as stream:
        decoded = [decode(source) for source in (image_path, content, stream)]
        assert not stream.closed
    first, *others = (np.asarray(image) for image in decoded)
    for other in others:
        np.testing.assert_array_equal(other, first)


@pillow_may_warn
@pytest.mark.parametrize("file_format", ALL_FORMATS)
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_decode__truncated(file_format: str, kept: float) -> None:
    content = encode(noise(64, 64), file_format, **ALL_FORMATS[file_format])
    with pytest.raises(ImageError):
        decode(content[: int(len(content) * kept)])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image\n" * 50,
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"<svg/>",
        bytes(5000),
    ],
)
def test_decode__no_image(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"known format \(JPEG, PNG, WEBP, BMP, TIFF, AVIF\)"):
        decode(content)


@pytest.mark.parametrize("file_format", ["GIF", "PPM", "ICO", "EPS"])
def test_decode__other_formats_are_not_opened(file_format: str) -> None:
    with pytest.raises(ImageError, match="known format"):
        decode(encode(noise(16, 16), file_format))


def test_decode__missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        decode(tmp_path / "none.jpg")


def test_decode__folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read: "):
        decode(tmp_path)


@pytest.mark.parametrize("size", [(9460, 9460), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_decode__bomb(size: tuple[int, int], action: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(ImageError, match=f"more than {MAX_PIXELS:,}"):
            decode(png_header(*size))


def test_decode__large_photo_is_no_bomb() -> None:
    width, height = 9459, 9459
    assert width * height <= MAX_PIXELS
    with pytest.raises(ImageError, match="truncated"):
        decode(png_header(width, height))


@pytest.mark.parametrize("file_format", ["MPO", "TIFF", "PNG", "WEBP"])
def test_decode__first_frame_and_no_file_left_open(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "frames"
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, file_format, save_all=True, append_images=frames[1:])
    pixels, left_open = _leftovers(lambda: Preprocessing(2, 2).apply(decode(path)))
    assert not left_open
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("file_format", ALL_FORMATS)
def test_decode__broken_file_is_closed(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(encode(noise(64, 64), file_format)[:-900])

    def fail() -> None:
        with pytest.raises(ImageError):
            decode(path)

    assert not _leftovers(fail)[1]


def test_decode__bomb_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(9460, 9460))

    def fail() -> None:
        with pytest.raises(ImageError):
            decode(path)

    assert not _leftovers(fail)[1]


@pillow_may_warn
def test_apply__damaged_photos_give_pixels_or_their_own_error() -> None:
    rng = np.random.default_rng(0)
    tags = Image.Exif()
    tags[ORIENTATION], tags[0x010F] = 6, "maker"
    block = tags.tobytes()
    seeds = [
        *(encode(noise(40, 30), name, exif=block) for name in ("JPEG", "PNG", "WEBP", "TIFF")),
        encode(noise(40, 30), "JPEG", progressive=True, exif=block),
        encode(noise(40, 30), "TIFF", compression="jpeg"),
        encode(noise(40, 30), "TIFF", compression="tiff_lzw"),
        encode(noise(40, 30), "BMP"),
        encode(noise(40, 30, "P"), "BMP"),
        encode(noise(40, 30, "P"), "PNG", transparency=b"\0\x80"),
        encode(noise(40, 30, "L"), "PNG"),
        encode(grey16(999), "PNG"),
    ]  # fmt: skip
    preprocessing = Preprocessing(8, 16)
    outcomes = {"pixels": 0, "refused": 0}
    for content in seeds:
        for _ in range(150):
            try:
                pixels = preprocessing.apply(decode(_damage(content, rng)))
            except ImageError:
                outcomes["refused"] += 1
            else:
                assert pixels.shape == (8, 16, 3)
                outcomes["pixels"] += 1
    # Both happen, or the damage is of no use.
    assert min(outcomes.values()) > 100


def _damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Changes, removes or inserts a few bytes, mostly in the headers."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        reach = 400 if rng.random() < 0.7 else len(damaged)
        at = int(rng.integers(0, min(reach, len(damaged))))
        kind = rng.random()
        if kind < 0.8:
            damaged[at] = int(rng.integers(0, 256))
        elif kind < 0.9:
            del damaged[at : at + 5]
        else:
            damaged[at:at] = rng.bytes(5)
    return bytes(damaged)


def _leftovers(act: Callable[[], object]) -> tuple[object, list[str]]:
    """Returns what a function returns, and which files it left open."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        result = act()
        gc.collect()
    return result, [str(warning.message) for warning in caught]


# --- Preprocessing


@pytest.mark.parametrize("side", [0, -1, 8193, True, 2.0, "240", None])
@pytest.mark.parametrize("name", ["height", "width"])
def test_preprocessing__side_out_of_range(name: str, side: object) -> None:
    with pytest.raises(ModelError, match=name):
        Preprocessing(**{"height": 8, "width": 8, name: side})


@pytest.mark.parametrize("side", [1, 8192])
def test_preprocessing__largest_and_smallest_side(side: int) -> None:
    assert Preprocessing(side, side).height == side


@pytest.mark.parametrize(
    "values",
    [(), (0.5, 0.5), (0.5,) * 4, (0.5, 0.5, 1), (0.5, 0.5, 1.1), (0.5, 0.5, -0.1),
     (0.5, 0.5, float("nan")), (0.5, 0.5, "0.5")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["mean", "std"])
def test_preprocessing__channels_out_of_range(name: str, values: tuple[object, ...]) -> None:
    with pytest.raises(ModelError, match=name):
        Preprocessing(8, 8, **{name: values})


def test_preprocessing__std_of_zero() -> None:
    with pytest.raises(ModelError, match="std"):
        Preprocessing(8, 8, std=(0.5, 0.0, 0.5))


@pytest.mark.parametrize(
    "change", [{"resampling": "nearest"}, {"color": "BGR"}, {"exif": False}], ids=str
)
def test_preprocessing__only_one_way_is_known(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="only bilinear RGB"):
        Preprocessing(8, 8, **change)


def test_from_json__round_trip() -> None:
    preprocessing = Preprocessing(17, 31, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 1.0))
    read = Preprocessing.from_json(json.loads(json.dumps(asdict(preprocessing))))
    assert read == preprocessing
    assert read != Preprocessing(17, 31)


@pytest.mark.parametrize("key", list(asdict(Preprocessing(8, 8))))
def test_from_json__missing_key(key: str) -> None:
    value = json.loads(json.dumps(asdict(Preprocessing(8, 8))))
    del value[key]
    with pytest.raises(ModelError, match="expected the keys"):
        Preprocessing.from_json(value)


def test_from_json__unknown_key() -> None:
    value = json.loads(json.dumps(asdict(Preprocessing(8, 8)))) | {"crop": 0.9}
    with pytest.raises(ModelError, match="expected the keys"):
        Preprocessing.from_json(value)


@pytest.mark.parametrize("value", [None, [], "preprocessing", 3])
def test_from_json__no_object(value: object) -> None:
    with pytest.raises(ModelError, match="expected the keys"):
        Preprocessing.from_json(value)


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("value", [0.5, "0.5", {"r": 0.5}, None])
def test_from_json__channels_are_no_list(name: str, value: object) -> None:
    fields = json.loads(json.dumps(asdict(Preprocessing(8, 8)))) | {name: value}
    with pytest.raises(ModelError, match=f"{name} is not a list"):
        Preprocessing.from_json(fields)


# --- read


def test_read__is_decode_and_apply(image_path: Path) -> None:
    preprocessing = Preprocessing(64, 160)
    expected = preprocessing.apply(decode(image_path))
    for source in (image_path, image_path.read_bytes(), io.BytesIO(image_path.read_bytes())):
        assert np.array_equal(preprocessing.read(source), expected)


@pytest.mark.parametrize("content", [b"", b"no photo", encode(noise(99, 99), "JPEG")[:900]])
def test_read__fails_as_decode_does(content: bytes) -> None:
    with pytest.raises(ImageError) as of_decode:
        decode(content)
    with pytest.raises(ImageError) as of_read:
        Preprocessing(4, 6).read(content)
    assert str(of_read.value) == str(of_decode.value)


def test_read__large_photos_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocess, "LARGE_PIXELS", 99)
    busy, most = 0, 0
    lock = threading.Lock()
    turned = preprocess.turn

    def watched(image: Image.Image) -> Image.Image:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02)
        with lock:
            busy -= 1
        return turned(image)

    monkeypatch.setattr(preprocess, "turn", watched)
    preprocessing = Preprocessing(4, 6)

    def most_at_once(content: bytes) -> int:
        nonlocal most
        most = 0
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(preprocessing.read, [content] * 8))
        return most

    assert most_at_once(encode(noise(10, 10), "PNG")) == 1
    assert most_at_once(encode(noise(9, 11), "PNG")) > 1


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_read__tiny_and_thin(size: tuple[int, int]) -> None:
    assert Preprocessing(4, 6).read(encode(noise(*size), "PNG")).shape == (4, 6, 3)


@pytest.mark.parametrize("file_format", ["WEBP", "PNG", "TIFF", "AVIF"])
def test_read__first_frame_of_an_animation(file_format: str) -> None:
    if file_format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    first, second = plain("RGB", (250, 0, 0)), plain("RGB", (0, 0, 250))
    content = encode(first, file_format, save_all=True, append_images=[second])
    pixels = Preprocessing(4, 4).read(content)
    assert pixels[..., 0].min() > 240
    assert pixels[..., 2].max() < 15


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_read__avif() -> None:
    image = noise(60, 20).resize((600, 200))
    content = encode(image, "AVIF", quality=95)
    shown = Preprocessing(20, 60).apply(image).astype(int)
    assert np.abs(Preprocessing(20, 60).read(content) - shown).mean() < 8


def heic() -> tuple[Image.Image, bytes]:
    """A photo and its file as a telephone writes it."""
    image = noise(60, 20).resize((600, 200))
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=95)
    return image, stream.getvalue()


@pytest.mark.parametrize("as_file", [False, True])
def test_read__heic_with_the_plugin(tmp_path: Path, as_file: bool) -> None:
    image, content = heic()
    path = tmp_path / "photo.heic"
    path.write_bytes(content)
    shown = Preprocessing(20, 60).apply(image).astype(int)
    pixels = Preprocessing(20, 60).read(path if as_file else content)
    assert np.abs(pixels - shown).mean() < 8


def test_read__heic_without_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    _, content = heic()
    monkeypatch.setattr(preprocess, "HEIF_PLUGIN", "no_such_plugin")
    with pytest.raises(ImageError, match=r"^HEIC needs .*: pip install pillow-heif"):
        Preprocessing(4, 6).read(content)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_read__damaged_heic(share: float) -> None:
    _, content = heic()
    with pytest.raises(ImageError):
        Preprocessing(4, 6).read(content[: int(len(content) * share)])
