import gc
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from boats_runtime import decoding
from boats_runtime.decoding import MAX_PIXELS, decode
from boats_runtime.errors import ImageError
from boats_runtime.preprocessing import Preprocessing
from support.encoded_images import (
    LOSSLESS_OPTIONS,
    encode_heic,
    encode_image,
    make_large_png,
    make_noise,
    make_smooth_noise,
)

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def find_open_files(action: Callable[[], object]) -> list[str]:
    """Return a message for each file that a function leaves open."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        action()
        gc.collect()
    return [str(warning.message) for warning in caught]


# --- decode


@pytest.mark.parametrize("file_format", LOSSLESS_OPTIONS)
@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.txt", "image"])
def test_decode__ignores_the_name(tmp_path: Path, name: str, file_format: str) -> None:
    path = tmp_path / name
    path.write_bytes(encode_image(make_noise(8, 6), file_format))
    assert decode(path).size == (8, 6)


def test_decode__path_bytes_and_stream_are_equal(image_path: Path) -> None:
    content = image_path.read_bytes()
    with image_path.open("rb") as stream:
        decoded = [np.asarray(decode(source)) for source in (image_path, content, stream)]
        assert not stream.closed
    np.testing.assert_array_equal(decoded[1], decoded[0])
    np.testing.assert_array_equal(decoded[2], decoded[0])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("file_format", LOSSLESS_OPTIONS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_decode__truncated(file_format: str, share: float) -> None:
    content = encode_image(make_noise(64, 64), file_format, **LOSSLESS_OPTIONS[file_format])
    with pytest.raises(ImageError):
        decode(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an image\n" * 50,
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"<svg/>",
        bytes(5000),
        *(encode_image(make_noise(16, 16), name) for name in ("GIF", "PPM", "ICO", "EPS")),
    ],
)
def test_decode__unknown_format(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"known format \(JPEG, PNG, WEBP, BMP, TIFF, AVIF\)"):
        decode(content)


def test_decode__missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read: No such file"):
        decode(tmp_path / "missing.jpg")


def test_decode__folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read: "):
        decode(tmp_path)


@pytest.mark.parametrize("size", [(9460, 9460), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_decode__decompression_bomb(size: tuple[int, int], action: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(ImageError, match=f"more than {MAX_PIXELS:,}"):
            decode(make_large_png(*size))


def test_decode__large_image_is_not_a_bomb() -> None:
    width, height = 9459, 9459
    assert width * height <= MAX_PIXELS
    with pytest.raises(ImageError, match="truncated"):
        decode(make_large_png(width, height))


@pytest.mark.parametrize("file_format", ["MPO", "TIFF", "PNG", "WEBP"])
def test_decode__closes_a_file_of_many_frames(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "frames"
    frame = Image.new("RGB", (16, 8), "red")
    frame.save(path, file_format, save_all=True, append_images=[Image.new("RGB", (16, 8), "blue")])
    assert find_open_files(lambda: decode(path)) == []


@pytest.mark.parametrize(
    "content",
    [
        *(encode_image(make_noise(64, 64), name)[:-900] for name in LOSSLESS_OPTIONS),
        make_large_png(9460, 9460),
    ],
    ids=[*LOSSLESS_OPTIONS, "bomb"],
)
def test_decode__closes_a_broken_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)

    def fail() -> None:
        with pytest.raises(ImageError):
            decode(path)

    assert find_open_files(fail) == []


# --- read


def test_read__equals_decode_and_apply(image_path: Path) -> None:
    preprocessing = Preprocessing(64, 160)
    expected = preprocessing.apply(decode(image_path))
    for source in (image_path, image_path.read_bytes(), io.BytesIO(image_path.read_bytes())):
        np.testing.assert_array_equal(preprocessing.read(source), expected)


@pytest.mark.parametrize(
    "content", [b"", b"no image", encode_image(make_noise(99, 99), "JPEG")[:900]]
)
def test_read__fails_as_decode(content: bytes) -> None:
    with pytest.raises(ImageError) as decode_error:
        decode(content)
    with pytest.raises(ImageError) as read_error:
        Preprocessing(4, 6).read(content)
    assert str(read_error.value) == str(decode_error.value)


@pytest.mark.parametrize(("size", "locked"), [((10, 10), True), ((9, 11), False)])
def test_read__decodes_large_images_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], locked: bool
) -> None:
    states = []

    def record_lock(image: Image.Image) -> Image.Image:
        states.append(decoding._large_image_lock.locked())
        return image

    monkeypatch.setattr(decoding, "LARGE_PIXELS", 99)
    monkeypatch.setattr("boats_runtime.preprocessing.apply_orientation", record_lock)
    Preprocessing(4, 6).read(encode_image(make_noise(*size), "PNG"))
    assert states == [locked]


@pytest.mark.parametrize(
    "file_format", ["WEBP", "PNG", "TIFF", pytest.param("AVIF", marks=needs_avif)]
)
def test_read__first_frame_of_an_animation(file_format: str) -> None:
    first, second = (Image.new("RGB", (4, 4), color) for color in ((250, 0, 0), (0, 0, 250)))
    content = encode_image(first, file_format, save_all=True, append_images=[second])
    pixels = Preprocessing(4, 4).read(content)
    assert pixels[..., 0].min() > 240
    assert pixels[..., 2].max() < 15


@needs_avif
def test_read__avif() -> None:
    image = make_smooth_noise()
    expected = Preprocessing(20, 60).apply(image).astype(int)
    pixels = Preprocessing(20, 60).read(encode_image(image, "AVIF", quality=95))
    assert np.abs(pixels - expected).mean() < 8


@pytest.mark.parametrize("as_file", [False, True])
def test_read__heic_with_the_plugin(tmp_path: Path, as_file: bool) -> None:
    image = make_smooth_noise()
    content = encode_heic(image)
    path = tmp_path / "image.heic"
    path.write_bytes(content)
    expected = Preprocessing(20, 60).apply(image).astype(int)
    pixels = Preprocessing(20, 60).read(path if as_file else content)
    assert np.abs(pixels - expected).mean() < 8


def test_read__heic_without_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "HEIF_PLUGIN", "missing_plugin")
    with pytest.raises(ImageError, match=r"^HEIC needs .*: pip install pillow-heif"):
        Preprocessing(4, 6).read(encode_heic(make_smooth_noise()))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_read__truncated_heic(share: float) -> None:
    content = encode_heic(make_smooth_noise())
    with pytest.raises(ImageError):
        Preprocessing(4, 6).read(content[: int(len(content) * share)])
