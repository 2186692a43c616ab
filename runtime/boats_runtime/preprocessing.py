"""The one preprocessing: an image file becomes the uint8 pixels that every model of boats takes.

Training, calibration, export and prediction all call `decode` and `Preprocessing.apply`; no other
module of the project opens or resizes an image. Normalization by `mean` and `std` is part of the
network instead, so that the exported file takes uint8 pixels.
"""

import importlib
import importlib.util
import io
import struct
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from boats_runtime.errors import ImageError, ModelError, first_line
from boats_runtime.regular_files import open_regular

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")
"""Image formats that are opened, whatever the name of the file; HEIC too if its plugin is
installed."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
"""Suffixes of the files that count as images when a folder is read."""

HEIF_PLUGIN = "pillow_heif"
"""Module that adds HEIC to Pillow; not installed with boats because HEVC is patented."""

# ISO/IEC 23008-12: the brands of still HEVC images, which follow the length of the first box.
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

MAX_PIXELS = 89_478_485
"""Size of the largest image that is decoded; Pillow's own limit against decompression bombs."""

LARGE_PIXELS = 16_000_000
"""Images with more pixels are decoded one at a time, whatever the number of threads."""

MAX_SIDE = 8192

_large_image_lock = threading.Lock()

# Pillow's parsers raise these on damaged files, besides OSError.
_DECODER_ERRORS = (
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    MemoryError,
    RuntimeError,
    struct.error,
)

# https://exiftool.org/TagNames/EXIF.html: Orientation, from the stored image to the upright one.
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_QUARTER_TURNS = (5, 6, 7, 8)
"""Orientations that exchange height and width."""

# https://docs.pytorch.org/vision/stable/models.html: all classification weights of torchvision.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of an image to the input of a network.

    Attributes:
        height: Height of the network's input in pixels, 1 to 8192.
        width: Width of the network's input in pixels, 1 to 8192.
        mean: Mean of each channel in [0, 1], subtracted inside the network.
        std: Standard deviation of each channel, 1e-6 to 1; the network divides by it.
        resampling: Always `bilinear`: Pillow's triangle filter, antialiased when shrinking.
        color: Always `RGB`.
        exif: Always true: the EXIF orientation is applied.

    Raises:
        ModelError: If a value is out of its range.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    resampling: str = "bilinear"
    color: str = "RGB"
    exif: bool = True

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            if type(side) is not int or not 1 <= side <= MAX_SIDE:
                raise ModelError(f"preprocessing: {name} is {side!r}, expected 1 to {MAX_SIDE}")
        for name, values, low in (("mean", self.mean, 0.0), ("std", self.std, 1e-6)):
            if len(values) != 3 or not all(
                isinstance(value, float) and low <= value <= 1 for value in values
            ):
                raise ModelError(
                    f"preprocessing: {name} is {values!r}, expected 3 numbers, {low:g} to 1"
                )
        fixed = (self.resampling, self.color, self.exif)
        if fixed != ("bilinear", "RGB", True):
            raise ModelError(
                f"preprocessing: only bilinear RGB with EXIF is supported, got {fixed!r}"
            )

    @classmethod
    def from_json(cls, value: object) -> "Preprocessing":
        """Restore the result of `dataclasses.asdict`.

        Raises:
            ModelError: If a key is missing or unknown, or a value is out of its range.
        """
        keys = set(cls.__dataclass_fields__)
        if not isinstance(value, dict) or set(value) != keys:
            raise ModelError(f"preprocessing: expected the keys {', '.join(sorted(keys))}")
        fields: dict[str, Any] = dict(value)
        for name in ("mean", "std"):
            if not isinstance(fields[name], list):
                raise ModelError(f"preprocessing: {name} is not a list")
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def read(self, source: Path | bytes | BinaryIO) -> NDArray[np.uint8]:
        """Decode an image and convert it to the network's input.

        The result equals `apply(decode(source))`. Memory stays bounded if many threads call this
        method, because large images are decoded one at a time.

        Args:
            source: Path, content or open stream of an image file.

        Returns:
            Pixels `(height, width, 3) uint8`, RGB, 0 to 255.

        Raises:
            ImageError: If the image cannot be decoded.
        """
        with _open(source) as image:
            large = image.width * image.height > LARGE_PIXELS
            with _large_image_lock if large else nullcontext():
                image.load()
                return self.apply(image)

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """Convert a decoded image to the network's input.

        Args:
            image: Image in any mode of Pillow.

        Returns:
            Pixels `(height, width, 3) uint8`, RGB, 0 to 255.

        Raises:
            ImageError: If the image has floating-point pixels.
        """
        rgb = convert_to_rgb(apply_orientation(image))
        # Stretched, never cropped: a boat often fills the image from end to end.
        resized = rgb.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(resized, dtype=np.uint8)


def decode(source: Path | bytes | BinaryIO) -> Image.Image:
    """Decode an image completely, so that a truncated file fails here.

    Args:
        source: Path, content or open stream of an image file.

    Returns:
        The first frame in its own mode; its EXIF orientation is not applied.

    Raises:
        ImageError: If the file is not readable, not an image of a known format, broken, or too
            large.
    """
    with _open(source) as image:
        image.load()
    return image


def read_size(source: Path | bytes | BinaryIO) -> tuple[int, int]:
    """Read the size of an image after EXIF orientation from its header, without its pixels.

    Args:
        source: Path, content or open stream of an image file.

    Returns:
        Height and width in pixels.

    Raises:
        ImageError: If the header cannot be read, or the image is too large.
    """
    with _open(source) as image:
        width, height = image.size
        if image.format == "TIFF":  # Pillow turns these itself
            return height, width
        try:
            # Pillow's own method for PNG decodes the pixels to find EXIF behind them.
            exif = Image.Image.getexif(image)
            turned = exif.get(ExifTags.Base.Orientation, 1) in _QUARTER_TURNS
        except (OSError, *_DECODER_ERRORS):
            turned = False
    return (width, height) if turned else (height, width)


@contextmanager
def _open(source: Path | bytes | BinaryIO) -> Iterator[Image.Image]:
    """Open an image that the block decodes, and raise every failure as an `ImageError`."""
    try:
        # Pillow keeps a file open if it has more frames or is broken; `with` closes it.
        with _open_stream(source) as stream, _identify(stream) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{image.width}x{image.height} pixels is more than {MAX_PIXELS:,}")
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"too many pixels, more than {MAX_PIXELS:,}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image of a known format ({', '.join(FORMATS)})") from error
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or first_line(error)}") from error
    except _DECODER_ERRORS as error:
        raise ImageError(f"broken image: {first_line(error)}") from error


def _open_stream(source: Path | bytes | BinaryIO) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return open_regular(source) if isinstance(source, Path) else nullcontext(source)


def _identify(stream: BinaryIO) -> Image.Image:
    try:
        return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        if not _is_heif(stream):
            raise
    if importlib.util.find_spec(HEIF_PLUGIN) is None:
        raise ImageError("HEIC needs a plugin of Pillow: pip install pillow-heif")
    importlib.import_module(HEIF_PLUGIN).register_heif_opener()
    return Image.open(stream, formats=("HEIF",))


def _is_heif(stream: BinaryIO) -> bool:
    stream.seek(0)
    start = stream.read(12)
    stream.seek(0)
    return start[4:8] == b"ftyp" and start[8:] in _HEIF_BRANDS


def apply_orientation(image: Image.Image) -> Image.Image:
    """Return an image upright by its EXIF orientation; damaged EXIF is ignored.

    `ImageOps.exif_transpose` gives the same pixels, but it reads and rewrites all of the EXIF, and
    fails on images with other malformed tags.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, *_DECODER_ERRORS):
        return image
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB, with a white background behind transparent pixels.

    Raises:
        ImageError: If the pixels are floating-point numbers, which have no defined range.
    """
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit gray: I;16, or I in older versions of Pillow
        gray = np.asarray(image, dtype=np.int64) >> 8
        return Image.fromarray(gray.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
