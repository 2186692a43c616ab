"""Decoding of image files: formats, limits, reduced decoding of large JPEG files, orientation.

No other module of the project opens an image.
"""

import importlib
import importlib.util
import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from boats_runtime.errors import ImageError, first_line
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
"""Images that need the memory of more pixels are decoded one at a time, whatever the number of
threads."""

MIN_REDUCED = 2
"""A reduced image has at least this many times the height and the width that are needed."""

_large_image_lock = threading.Lock()

_REDUCIBLE = ("JPEG", "MPO")
"""Formats whose decoder can reduce; MPO is several JPEG images in one file."""

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

_LEFT_RIGHT, _TOP_BOTTOM = (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations that exchange left and right, or top and bottom, after that."""


def decode(
    source: Path | bytes | BinaryIO, needed_size: tuple[int, int] | None = None
) -> Image.Image:
    """Decode an image completely, so that a truncated file fails here.

    Args:
        source: Path, content or open stream of an image file.
        needed_size: Height and width of the upright image that is needed, see `reduce_decoding`;
            None to decode every pixel.

    Returns:
        The first frame in its own mode; its EXIF orientation is not applied.

    Raises:
        ImageError: If the file is not readable, not an image of a known format, broken, or too
            large.
    """
    with open_image(source) as image:
        if needed_size is not None:
            reduce_decoding(image, *needed_size)
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
    with open_image(source) as image:
        width, height = image.size
        # Pillow turns TIFF files itself.
        turned = image.format != "TIFF" and _is_turned(image)
    return (width, height) if turned else (height, width)


def reduce_decoding(image: Image.Image, height: int, width: int) -> tuple[float, float] | None:
    """Let an open JPEG file that is much larger than needed be decoded at 1/2, 1/4 or 1/8.

    The decoder computes fewer pixels from the same coefficients. The result has the smallest of
    these sizes with at least twice the needed height and width. Images of other formats, and
    smaller ones, are decoded completely.

    Args:
        image: Image of which no pixel is decoded yet; its size changes.
        height: Height in pixels that is needed after EXIF orientation is applied.
        width: Width in pixels that is needed.

    Returns:
        Extent of the image, its width and height in reduced pixels: the last ones reach over its
        edge if its size is no multiple of the scale. None for formats that are not reduced.
    """
    if image.format not in _REDUCIBLE:
        return None
    height, width = MIN_REDUCED * height, MIN_REDUCED * width
    needed = (height, width) if _is_turned(image) else (width, height)
    reduced = image.draft(None, needed)
    return None if reduced is None else reduced[1][2:]


@contextmanager
def load_image(
    source: Path | bytes | BinaryIO, needed_size: tuple[int, int] | None = None
) -> Iterator[tuple[Image.Image, tuple[float, float] | None]]:
    """Decode an image for the block, with bounded memory in many threads.

    Other images of more than `LARGE_PIXELS` wait until the block ends.

    Args:
        source: As in `decode`.
        needed_size: As in `decode`.

    Yields:
        The image, its EXIF orientation not applied, and its extent as in `reduce_decoding`.

    Raises:
        ImageError: As in `decode`.
    """
    with open_image(source) as image:
        pixels = image.width * image.height
        extent = None if needed_size is None else reduce_decoding(image, *needed_size)
        # A progressive JPEG file needs the memory of all its coefficients, reduced or not.
        if not image.info.get("progressive"):
            pixels = image.width * image.height
        with _large_image_lock if pixels > LARGE_PIXELS else nullcontext():
            image.load()
            yield image, extent


@contextmanager
def open_image(source: Path | bytes | BinaryIO) -> Iterator[Image.Image]:
    """Open an image that the block decodes, and raise every failure as an `ImageError`.

    Args:
        source: Path, content or open stream of an image file.
    """
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
    transposition = _TRANSPOSITIONS.get(_get_orientation(image.getexif))
    return image if transposition is None else image.transpose(transposition)


def get_upright_box(
    image: Image.Image, extent: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Return the box of an extent after `apply_orientation`: left, top, right, bottom in pixels.

    Args:
        image: Image before its orientation is applied.
        extent: Width and height of the part that begins at its top left.
    """
    orientation = _get_orientation(image.getexif)
    (width, height), (right, bottom) = image.size, extent
    if orientation in _QUARTER_TURNS:
        width, height, right, bottom = height, width, bottom, right
    left = width - right if orientation in _LEFT_RIGHT else 0.0
    top = height - bottom if orientation in _TOP_BOTTOM else 0.0
    return left, top, left + right, top + bottom


def _is_turned(image: Image.Image) -> bool:
    """Return whether EXIF orientation exchanges height and width, without decoding pixels."""
    # Pillow's own method for PNG decodes the pixels to find EXIF behind them.
    return _get_orientation(partial(Image.Image.getexif, image)) in _QUARTER_TURNS


def _get_orientation(read_exif: Callable[[], Image.Exif]) -> Any:
    try:
        return read_exif().get(ExifTags.Base.Orientation, 1)
    except (OSError, *_DECODER_ERRORS):
        return 1
