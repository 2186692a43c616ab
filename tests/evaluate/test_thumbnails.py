import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from boats_evaluate.labeled_images import Photo
from boats_evaluate.thumbnails import LARGE, SMALL, draw_small, fit, to_uri
from boats_runtime.errors import ImageError


def read(uri: str) -> Image.Image:
    head, content = uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1800, 600), (180, 60)), ((300, 900), (40, 120)), ((90, 30), (90, 30))],
)
def test_draw_small__keeps_its_sides(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    path = tmp_path / "1.png"
    Image.new("RGBA", size, (200, 0, 0, 255)).save(path)
    (uri,) = draw_small([Photo(path, "red")])
    image = read(uri)
    assert (image.size, image.mode) == (expected, "RGB")
    assert image.size <= SMALL


def test_fit__upright(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (900, 300)).save(path, exif=exif)
    assert fit(Photo(path, "red"), LARGE).size == (120, 360)


def test_draw_small__gone_since(tmp_path: Path) -> None:
    photo = Photo(tmp_path / "gone.jpg", "red")
    assert draw_small([photo]) == [""]
    with pytest.raises(ImageError):
        fit(photo, LARGE)


def test_to_uri__a_strip_is_a_few_thousand_bytes() -> None:
    assert len(to_uri(Image.effect_noise((180, 54), 40).convert("RGB"))) < 12_000
