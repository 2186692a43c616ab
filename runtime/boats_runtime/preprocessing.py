"""The one preprocessing: a photo file becomes the uint8 pixels that every model of boats takes.

Training, calibration, export and prediction all call `decode` and `Preprocessing.apply`; nothing
else in the project opens or resizes a photo. Normalisation by `mean` and `std` is not done here: it
is part of the network, so that the exported file takes the pixels as they are.
"""

import importlib
import importlib.util
import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from boats_runtime.errors import ImageError, ModelError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")
"""Image formats that are opened, whatever the file's name says; HEIC too, with its plugin."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
)
"""File names that count as photos when a folder is read."""

HEIF_PLUGIN = "pillow_heif"
"""The module that teaches Pillow HEIC; not installed with boats: HEVC is patented."""

# ISO/IEC 23008-12: the brands of still HEVC images, after the length of the first box
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

MAX_PIXELS = 89_478_485
"""Largest photo that is decoded, Pillow's own limit; more is taken for a decompression bomb."""

LARGE_PIXELS = 16_000_000
"""Photos of more pixels are decoded one at a time, however many threads decode."""

MAX_SIDE = 8192

_one_large = threading.Lock()

# What Pillow's parsers raise on damaged files besides OSError.
_DAMAGE = (
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

# https://exiftool.org/TagNames/EXIF.html: Orientation, from the photo as stored to upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# https://docs.pytorch.org/vision/stable/models.html: all classification weights of torchvision
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes the input of a network.

    Attributes:
        height: Rows of the network's input, 1 to 8192.
        width: Columns of the network's input, 1 to 8192.
        mean: Mean of each channel in [0, 1], subtracted inside the network.
        std: Standard deviation of each channel in [0, 1], divided by inside the network.
        resampling: Always `bilinear`: Pillow's triangle filter, antialiased when shrinking.
        color: Always `RGB`.
        exif: Always true: the photo is turned as its EXIF orientation says.

    Raises:
        ModelError: A value is out of its range.
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
                raise ModelError(f"preprocessing: {name} is {side!r}, not 1 to {MAX_SIDE}")
        for name, values, low in (("mean", self.mean, 0.0), ("std", self.std, 1e-6)):
            if len(values) != 3 or not all(
                isinstance(value, float) and low <= value <= 1 for value in values
            ):
                raise ModelError(f"preprocessing: {name} is {values!r}, not 3 numbers up to 1")
        fixed = (self.resampling, self.color, self.exif)
        if fixed != ("bilinear", "RGB", True):
            raise ModelError(f"preprocessing: only bilinear RGB with EXIF is known, not {fixed!r}")

    @classmethod
    def from_json(cls, value: object) -> "Preprocessing":
        """Reads what `dataclasses.asdict` wrote.

        Raises:
            ModelError: A key is missing or unknown, or a value is out of its range.
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
        """Decodes a photo and turns it into the network's input, as `decode` and `apply` do.

        Called from many threads it takes bounded memory: large photos wait for each other.

        Args:
            source: As in `decode`.

        Returns:
            Pixels `(height, width, 3) uint8`, RGB, 0 to 255.

        Raises:
            ImageError: The photo can't be decoded.
        """
        with _open(source) as image:
            large = image.width * image.height > LARGE_PIXELS
            with _one_large if large else nullcontext():
                image.load()
                return self.apply(image)

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """Turns a decoded photo into the network's input.

        Args:
            image: A photo in any mode of Pillow.

        Returns:
            Pixels `(height, width, 3) uint8`, RGB, 0 to 255.

        Raises:
            ImageError: The photo's pixels have no defined range.
        """
        rgb = to_rgb(turn(image))
        # Stretched, never cropped: a boat fills the photo from end to end.
        resized = rgb.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(resized, dtype=np.uint8)


def decode(source: Path | bytes | BinaryIO) -> Image.Image:
    """Opens a photo and decodes it whole, so that a truncated file fails here.

    Args:
        source: A file, the bytes of one, or a stream open for reading.

    Returns:
        The first frame, in its own mode and not yet turned by its EXIF orientation.

    Raises:
        ImageError: Not a photo of a known format, broken, too large, or not readable.
    """
    with _open(source) as image:
        image.load()
    return image


@contextmanager
def _open(source: Path | bytes | BinaryIO) -> Iterator[Image.Image]:
    """Opens a photo to be decoded, and says in one way what is wrong with it.

    Raises:
        ImageError: As `decode` has it.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        # Pillow keeps a file open for its further frames, or when it is broken; `with` closes it.
        with _identify(stream) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{image.width}x{image.height} pixels is more than {MAX_PIXELS:,}")
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"too many pixels, more than {MAX_PIXELS:,}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image of a known format ({', '.join(FORMATS)})") from error
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or _one_line(error)}") from error
    except _DAMAGE as error:
        raise ImageError(f"broken image: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """Returns a codec's message as one line; its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _identify(stream: Path | BinaryIO) -> Image.Image:
    """Opens what Pillow knows, and HEIC where its plugin is installed.

    Raises:
        UnidentifiedImageError: It is neither.
        ImageError: It is HEIC, and the plugin is not installed.
    """
    try:
        return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        if not _is_heif(stream):
            raise
    if importlib.util.find_spec(HEIF_PLUGIN) is None:
        raise ImageError("HEIC needs a plugin of Pillow: pip install pillow-heif")
    importlib.import_module(HEIF_PLUGIN).register_heif_opener()
    return Image.open(stream, formats=("HEIF",))


def _is_heif(stream: Path | BinaryIO) -> bool:
    if isinstance(stream, Path):
        with stream.open("rb") as opened:
            start = opened.read(12)
    else:
        stream.seek(0)
        start = stream.read(12)
        stream.seek(0)
    return start[4:8] == b"ftyp" and start[8:] in _HEIF_BRANDS


def turn(image: Image.Image) -> Image.Image:
    """Turns a photo upright, as its EXIF orientation says; damaged EXIF counts as none.

    `ImageOps.exif_transpose` turns the same way, but reads and rewrites all of the EXIF, and fails
    on photos whose other tags are malformed.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, *_DAMAGE):
        return image
    method = _TURNS.get(orientation)
    return image if method is None else image.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a photo of any mode to RGB; transparency is laid on white, as viewers show it.

    Raises:
        ImageError: Floating-point pixels, which have no defined range.
    """
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit grey: I;16, or I in older Pillow
        grey = np.asarray(image, dtype=np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
