"""Encoded images of all formats, valid or not."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
from PIL import Image

ORIENTATION = 0x0112

LOSSLESS_OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
}
"""Options by format; JPEG has no lossless ones."""


def make_noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return an image of random pixels, always the same ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def make_smooth_noise() -> Image.Image:
    """Return an image of 600x200 pixels that lossy formats change little."""
    return make_noise(60, 20).resize((600, 200))


def encode_image(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Return the content of an image file."""
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def encode_heic(image: Image.Image) -> bytes:
    """Return the content of a HEIC file."""
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=95)
    return stream.getvalue()


def make_exif(orientation: int) -> bytes:
    """Return an EXIF block with an orientation."""
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


def make_large_png(width: int, height: int) -> bytes:
    """Return a small PNG file whose header has this size."""

    def encode_chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(encode_chunk(*chunk) for chunk in chunks)
