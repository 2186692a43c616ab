import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from boats_evaluate.labeled_images import LabeledImage
from boats_evaluate.thumbnails import MISTAKE_SIZE, encode_data_uri, load_reduced, make_thumbnails


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1800, 600), (180, 60)), ((300, 900), (40, 120)), ((90, 30), (90, 30))],
)
def test_make_thumbnails__keep_the_aspect_ratio(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    path = tmp_path / "1.png"
    Image.new("RGBA", size, (200, 0, 0, 255)).save(path)
    (uri,) = make_thumbnails([LabeledImage(path, "red")])
    header, content = uri.split(",")
    assert header == "data:image/jpeg;base64"
    thumbnail = Image.open(io.BytesIO(base64.b64decode(content)))
    assert (thumbnail.size, thumbnail.mode) == (expected, "RGB")


def test_make_thumbnails__missing_file(tmp_path: Path) -> None:
    assert make_thumbnails([LabeledImage(tmp_path / "missing.jpg", "red")]) == [""]


def test_load_reduced__applies_the_exif_orientation(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (900, 300)).save(path, exif=exif)
    assert load_reduced(LabeledImage(path, "red"), MISTAKE_SIZE).size == (120, 360)


def test_encode_data_uri__small_for_a_thumbnail() -> None:
    assert len(encode_data_uri(Image.effect_noise((180, 54), 40).convert("RGB"))) < 12_000
