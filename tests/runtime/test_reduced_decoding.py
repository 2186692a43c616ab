"""JPEG files that are much larger than needed are decoded at a reduced scale."""

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_runtime import decoding
from boats_runtime.classifier import Classifier
from boats_runtime.decoding import MAX_PIXELS, decode
from boats_runtime.errors import ImageError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.extraction import decode_images
from support.encoded_images import encode_image, make_exif, make_noise
from support.models import save_color_model

OPTIONS: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "full color resolution": {"subsampling": 0},
    "restart markers": {"restart_marker_rows": 1},
    "low quality": {"quality": 40},
}
MAX_MEAN_DIFFERENCE = 0.35
"""Of pixel values from 0 to 255, from the same image after all its pixels were decoded."""


@cache
def draw_scene() -> Image.Image:
    """Return a smooth image with edges and fine noise, like one from a camera."""
    width, height = 1000, 750
    pixels = np.asarray(make_noise(width // 100, height // 100).resize((width, height)), np.int16)
    grain = np.random.default_rng(0).normal(0, 3, (height, width, 1))
    image = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
    image.paste((20, 30, 60), (width // 5, height // 3, width // 2, height // 2))
    image.paste((240, 230, 210), (width // 2, height // 4, width // 2 + 9, height))
    return image


def set_jpeg_size(content: bytes, width: int, height: int) -> bytes:
    """Change the size in the header of a baseline JPEG file (ITU-T T.81, B.2.2)."""
    start = content.index(b"\xff\xc0") + 5
    sides = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return content[:start] + sides + content[start + 4 :]


def mean_difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


# --- scale


def test_decode__never_below_twice_the_needed_size() -> None:
    rng = random.Random(0)  # noqa: S311
    reduced = 0
    for _ in range(150):
        width, height = rng.randint(1, 900), rng.randint(1, 900)
        needed_height, needed_width = rng.randint(1, 120), rng.randint(1, 120)
        orientation = rng.randint(1, 8)
        stored = Image.new("RGB", (width, height))
        content = encode_image(stored, "JPEG", exif=make_exif(orientation))
        image = decode(content, (needed_height, needed_width))
        if orientation >= 5:
            needed_height, needed_width = needed_width, needed_height
        sizes = {scale: (-(-width // scale), -(-height // scale)) for scale in (8, 4, 2, 1)}
        (scale, *_) = [scale for scale, size in sizes.items() if size == image.size]
        least_width, least_height = 2 * needed_width, 2 * needed_height
        large_enough = image.width >= least_width and image.height >= least_height
        assert scale == 1 or large_enough
        next_width, next_height = width / (2 * scale), height / (2 * scale)
        assert scale == 8 or next_width < least_width or next_height < least_height
        reduced += scale > 1
    assert 30 < reduced < 120


@pytest.mark.parametrize(
    ("needed", "size"),
    [
        ((600, 800), (1600, 1200)), ((301, 400), (1600, 1200)), ((300, 401), (1600, 1200)),
        ((300, 400), (800, 600)), ((151, 200), (800, 600)), ((150, 200), (400, 300)),
        ((75, 100), (200, 150)), ((1, 1), (200, 150)), ((1, 800), (1600, 1200)),
    ],
)  # fmt: skip
def test_decode__scale(needed: tuple[int, int], size: tuple[int, int]) -> None:
    content = encode_image(Image.new("RGB", (1600, 1200)), "JPEG")
    assert decode(content, needed).size == size


@pytest.mark.parametrize(("orientation", "size"), [(1, (400, 300)), (6, (800, 600))])
def test_decode__orientation_comes_before_the_scale(
    orientation: int, size: tuple[int, int]
) -> None:
    content = encode_image(Image.new("RGB", (1600, 1200)), "JPEG", exif=make_exif(orientation))
    # Turned by 90 degrees, 1200 pixels become the width, less than 8 times of 2 x 200.
    assert decode(content, (150, 200)).size == size


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_decode__other_formats_are_decoded_completely(file_format: str) -> None:
    content = encode_image(Image.new("RGB", (320, 160)), file_format)
    assert decode(content, (8, 8)).size == (320, 160)


# --- read


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("options", OPTIONS)
def test_read__close_to_the_full_decoding(options: str, orientation: int) -> None:
    settings = {"quality": 90, "exif": make_exif(orientation)} | OPTIONS[options]
    content = encode_image(draw_scene(), "JPEG", **settings)
    preprocessing = Preprocessing(90, 120)
    assert decode(content, preprocessing.decoded_size).width < 700
    pixels = preprocessing.read(content)
    assert mean_difference(pixels, preprocessing.apply(decode(content))) < MAX_MEAN_DIFFERENCE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read__size_is_no_multiple_of_the_scale(orientation: int) -> None:
    # The last reduced pixels reach over the edge by 3 of 4 pixels, which must not shift the image.
    scene = draw_scene().crop((0, 0, 993, 749))
    content = encode_image(scene, "JPEG", quality=90, exif=make_exif(orientation))
    preprocessing = Preprocessing(90, 90)
    assert decode(content, preprocessing.decoded_size).size == (249, 188)
    expected = preprocessing.apply(decode(content))
    assert mean_difference(preprocessing.read(content), expected) < MAX_MEAN_DIFFERENCE


@pytest.mark.parametrize("mode", ["L", "CMYK", "YCbCr"])
def test_read__reduced_mode(mode: str) -> None:
    content = encode_image(draw_scene().convert(mode), "JPEG", quality=90)
    preprocessing = Preprocessing(90, 120)
    reduced = decode(content, preprocessing.decoded_size)
    assert (reduced.size, reduced.mode) == ((250, 188), decode(content).mode)
    expected = preprocessing.apply(decode(content))
    assert mean_difference(preprocessing.read(content), expected) < MAX_MEAN_DIFFERENCE


def test_read__reduced_first_frame_of_mpo() -> None:
    image, second = draw_scene(), Image.new("RGB", (1000, 750), "red")
    content = encode_image(image, "MPO", save_all=True, append_images=[second], quality=90)
    preprocessing = Preprocessing(90, 120)
    reduced = decode(content, preprocessing.decoded_size)
    assert (reduced.size, reduced.format) == ((250, 188), "MPO")
    expected = preprocessing.apply(decode(content))
    assert mean_difference(preprocessing.read(content), expected) < MAX_MEAN_DIFFERENCE


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (8, 8), (17, 15)])
def test_read__tiny_jpeg(size: tuple[int, int]) -> None:
    content = encode_image(make_noise(*size), "JPEG")
    for needed in ((1, 1), (2, 4), (64, 160)):
        assert Preprocessing(*needed).read(content).shape == (*needed, 3)


def test_read__same_pixels_in_training_and_prediction(tmp_path: Path) -> None:
    classifier = Classifier(save_color_model(tmp_path / "colors.onnx"), "cpu")
    path = tmp_path / "image.jpg"
    path.write_bytes(encode_image(draw_scene(), "JPEG", exif=make_exif(6)))
    preprocessing = classifier.metadata.preprocessing
    expected = preprocessing.read(path)
    assert not np.array_equal(preprocessing.apply(decode(path)), expected)
    ((_, training),) = decode_images(preprocessing, [path])
    for pixels in (training, classifier.prepare(path), classifier.prepare(path.read_bytes())):
        np.testing.assert_array_equal(pixels, expected)


# --- limits


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02])
def test_read__truncated_reduced_jpeg(options: str, share: float) -> None:
    content = encode_image(draw_scene(), "JPEG", **OPTIONS[options])
    with pytest.raises(ImageError):
        Preprocessing(20, 20).read(content[: int(len(content) * share)])


def test_read__pixel_limit_counts_the_stored_size() -> None:
    content = encode_image(make_noise(64, 64), "JPEG")
    with pytest.raises(ImageError, match=f"more than {MAX_PIXELS:,}"):
        Preprocessing(8, 8).read(set_jpeg_size(content, 9460, 9460))


@pytest.mark.parametrize(
    ("file_format", "options", "locked"),
    [("JPEG", {}, False), ("JPEG", {"progressive": True}, True), ("PNG", {}, True)],
)
def test_read__large_images_are_those_that_need_memory(
    monkeypatch: pytest.MonkeyPatch, file_format: str, options: dict[str, object], locked: bool
) -> None:
    states = []

    def record_lock(image: Image.Image) -> Image.Image:
        states.append(decoding._large_image_lock.locked())
        return image

    monkeypatch.setattr(decoding, "LARGE_PIXELS", 999)
    monkeypatch.setattr("boats_runtime.preprocessing.apply_orientation", record_lock)
    Preprocessing(4, 6).read(encode_image(make_noise(100, 100), file_format, **options))
    assert states == [locked]
