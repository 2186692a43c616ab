"""Reduced images for the report page, embedded as data URIs."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from boats_evaluate.labeled_images import LabeledImage
from boats_runtime.decoding import apply_orientation, decode
from boats_runtime.errors import ImageError
from boats_runtime.prefetch import prefetch
from boats_runtime.preprocessing import convert_to_rgb
from boats_runtime.progress import track

THUMBNAIL_SIZE = (180, 120)
"""Maximum width and height of images in lists."""

MISTAKE_SIZE = (520, 360)
"""Maximum width and height of explained mistakes."""

QUALITY = 70


def load_reduced(image: LabeledImage, max_size: tuple[int, int]) -> Image.Image:
    """Load an image as RGB in its EXIF orientation and reduce it to a maximum width and height.

    Raises:
        ImageError: If the file cannot be read.
    """
    width, height = max_size
    decoded = decode(image.path, (height, width))
    reduced = convert_to_rgb(apply_orientation(decoded))
    reduced.thumbnail(max_size, Image.Resampling.BILINEAR)
    return reduced


def encode_data_uri(image: Image.Image) -> str:
    """Encode an RGB image as a data URI of a JPEG file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def make_thumbnails(images: Sequence[LabeledImage]) -> list[str]:
    """Return data URIs of thumbnails; an empty text for each image that cannot be read."""

    def make(image: LabeledImage) -> str:
        try:
            return encode_data_uri(load_reduced(image, THUMBNAIL_SIZE))
        except ImageError:
            return ""

    return list(track(prefetch(make, images, 4), "thumbnails", len(images)))
