"""Photos small enough to travel inside the page."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from boats_evaluate.labeled_images import Photo
from boats_runtime.errors import ImageError
from boats_runtime.prefetch import prefetch
from boats_runtime.preprocessing import decode, to_rgb, turn
from boats_runtime.progress import track

SMALL = (180, 120)
"""Width and height that a photo in a list fits into."""

LARGE = (520, 360)
"""Width and height that a mistake that is shown large fits into."""

QUALITY = 70

AHEAD = 4
"""Photos that are drawn before they are asked for."""


def fit(photo: Photo, box: tuple[int, int]) -> Image.Image:
    """Opens a photo as RGB, upright, and shrinks it to fit into a box.

    Raises:
        ImageError: It can't be read.
    """
    image = to_rgb(turn(decode(photo.path)))
    image.thumbnail(box, Image.Resampling.BILINEAR)
    return image


def to_uri(image: Image.Image) -> str:
    """Returns an RGB image as a JPEG inside a data URI."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def draw_small(photos: Sequence[Photo]) -> list[str]:
    """Returns photos as small data URIs; empty where one can't be read any more."""

    def draw(photo: Photo) -> str:
        try:
            return to_uri(fit(photo, SMALL))
        except ImageError:
            return ""

    return list(track(prefetch(draw, photos, AHEAD), "thumbnails"))
