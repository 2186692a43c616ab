"""The one preprocessing: an image file becomes the uint8 pixels that every model of boats takes.

Training, calibration, export and prediction all call `Preprocessing.read`, so that a network never
sees other pixels than it was trained on. Normalization by `mean` and `std` is part of the network
instead, so that the exported file takes uint8 pixels.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_runtime.decoding import MAX_PIXELS, apply_orientation, get_upright_box, load_image
from boats_runtime.errors import ImageError, ModelError, first_line

VERSION = 2
"""Version of the preprocessing of new networks."""

MAX_SIDE = 8192

# https://docs.pytorch.org/vision/stable/models.html: all classification weights of torchvision.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of an image to the input of a network.

    Version 1 decodes every pixel and resizes in one call, whose result depends on the version of
    Pillow. Version 2 decodes JPEG files that are much larger than the input at a reduced scale,
    resizes the width first and then the height, which gives the same pixels in every version of
    Pillow, and recognizes 8-bit values in mode `I`.

    Attributes:
        height: Height of the network's input in pixels, 1 to 8192.
        width: Width of the network's input in pixels, 1 to 8192.
        mean: Mean of each channel in [0, 1], subtracted inside the network.
        std: Standard deviation of each channel, 1e-6 to 1; the network divides by it.
        resampling: Always `bilinear`: Pillow's triangle filter, antialiased when shrinking.
        color: Always `RGB`.
        exif: Always true: the EXIF orientation is applied.
        version: 2, or 1 for files and runs that were written without this key.

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
    version: int = VERSION

    def __post_init__(self) -> None:
        check_version(self.version)
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
        """Restore the result of `to_json`.

        Raises:
            ModelError: If a key is missing or unknown, a value is out of its range, or the version
                is newer than this boats.
        """
        fields: dict[str, Any] = {"version": 1} | value if isinstance(value, dict) else {}
        check_version(fields.get("version", 1))  # first: a newer one may have other keys
        keys = set(cls.__dataclass_fields__)
        if set(fields) != keys:
            raise ModelError(f"preprocessing: expected the keys {', '.join(sorted(keys))}")
        for name in ("mean", "std"):
            if not isinstance(fields[name], list):
                raise ModelError(f"preprocessing: {name} is not a list")
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values by name; version 1 has no key `version`, as in older versions."""
        fields = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        if self.version == 1:
            del fields["version"]
        return fields

    @property
    def decoded_size(self) -> tuple[int, int] | None:
        """Height and width for which large JPEG files are reduced, see `decoding.decode`."""
        return None if self.version == 1 else (self.height, self.width)

    def read(self, source: Path | bytes | BinaryIO) -> NDArray[np.uint8]:
        """Decode an image and convert it to the network's input.

        The result equals `apply(decode(source))`, or is close to it if version 2 reduces a JPEG
        file. Memory stays bounded if many threads call this method, because large images are
        decoded one at a time.

        Args:
            source: Path, content or open stream of an image file.

        Returns:
            Pixels `(height, width, 3) uint8`, RGB, 0 to 255.

        Raises:
            ImageError: If the image cannot be decoded.
        """
        with load_image(source, self.decoded_size) as (image, extent):
            return self.apply(image, extent)

    def apply(
        self, image: Image.Image, extent: tuple[float, float] | None = None
    ) -> NDArray[np.uint8]:
        """Convert a decoded image to the network's input.

        Args:
            image: Image in any mode of Pillow.
            extent: Width and height that are used, as stored; None for the whole image.

        Returns:
            Pixels `(height, width, 3) uint8`, RGB, 0 to 255.

        Raises:
            ImageError: If the image has a mode that `convert_to_rgb` refuses.
        """
        image.load()  # Pillow applies the orientation of TIFF files here
        box = None if extent is None else get_upright_box(image, extent)
        rgb = convert_to_rgb(apply_orientation(image), self.version)
        # Stretched, never cropped: a boat often fills the image from end to end.
        if self.version == 1:
            resized = rgb.resize((self.width, self.height), Image.Resampling.BILINEAR)
        else:
            resized = _resize(rgb, (self.width, self.height), box)
        return np.asarray(resized, dtype=np.uint8)


def _resize(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None
) -> Image.Image:
    """Resize an image, or a box of it, to a width and height: the same pixels in every Pillow.

    Pillow chooses the order of width and height in one call, and Pillow 13 chooses another one
    than 12.
    """
    width, height = size
    left, top, right, bottom = box or (0, 0, *image.size)
    if width * image.height <= MAX_PIXELS:
        columns = (left, 0, right, image.height)
        image = image.resize((width, image.height), Image.Resampling.BILINEAR, columns)
        return image.resize(size, Image.Resampling.BILINEAR, (0, top, width, bottom))
    # For example 1 pixel wide and millions high: would become too large.
    rows = (0, top, image.width, bottom)
    image = image.resize((image.width, height), Image.Resampling.BILINEAR, rows)
    return image.resize(size, Image.Resampling.BILINEAR, (left, 0, right, height))


def check_version(version: object) -> None:
    """Check that this boats knows a version of the preprocessing.

    Raises:
        ModelError: If it does not.
    """
    if type(version) is not int or version < 1:
        raise ModelError(f"preprocessing: version is {version!r}, expected 1 to {VERSION}")
    if version > VERSION:
        raise ModelError(
            f"preprocessing has version {version}, but this boats reads up to {VERSION}: "
            "install a newer boats"
        )


def convert_to_rgb(image: Image.Image, version: int = VERSION) -> Image.Image:
    """Convert an image of any mode to RGB, with a white background behind transparent pixels.

    Mode `I;16` has 16 bits and is divided by 256. Mode `I` has no defined range: values up to 255
    are taken as 8 bits, larger ones as 16 bits; version 1 divides all by 256.

    Args:
        image: Image; returned itself if it has RGB pixels already.
        version: Version of the preprocessing.

    Raises:
        ImageError: If the pixels are floating-point numbers, which have no defined range, or
            Pillow cannot convert their mode.
    """
    if image.mode == "F":
        raise ImageError("floating-point pixels have no defined range; save it with 8 or 16 bits")
    if image.mode == "La":
        raise ImageError(
            "gray with premultiplied alpha (mode La) is not supported; save it without "
            "premultiplied alpha"
        )
    if image.mode.startswith("I"):
        gray = np.asarray(image, dtype=np.int64)
        if version == 1 or image.mode != "I" or gray.max(initial=0) > 255:
            gray >>= 8
        return Image.fromarray(gray.clip(0, 255).astype(np.uint8)).convert("RGB")
    try:
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            white = Image.new("RGBA", rgba.size, "white")
            return Image.alpha_composite(white, rgba).convert("RGB")
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"mode {image.mode} cannot be converted to RGB ({first_line(error)}); save it as RGB"
        ) from error
