"""Input and result records of a classification."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_runtime.errors import ImageError

ImageSource = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""Path of a file, content of a file, image decoded by Pillow, or uint8 pixels: `(height, width)`
gray, `(height, width, 3)` RGB or `(height, width, 4)` RGBA."""


def describe_type(image: object) -> str:
    """Return why an object is no image, and what to do."""
    hint = ""
    if isinstance(image, bytearray | memoryview):
        hint = ": convert it with bytes()"
    elif isinstance(image, Iterable):
        hint = ": give several images to predict_many"
    return (
        "expected an image (path, bytes, Pillow image or uint8 array), "
        f"got {type(image).__name__}{hint}"
    )


@dataclass(frozen=True)
class ImageInput:
    """An image and the name under which its result is reported."""

    name: str
    image: ImageSource


@dataclass(frozen=True)
class Score:
    """A label and its probability, 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """Classification result of one image.

    Attributes:
        top: All classes in order of decreasing probability.
        latency_ms: Time from pixels to probabilities in milliseconds, without decoding; for an
            image in a batch, the time of the batch divided by its size.
        unknown: Whether the score is below the threshold of the model.
        name: Path or name of the image; empty if it has none.
    """

    top: tuple[Score, ...]
    latency_ms: float
    unknown: bool = field(default=False, kw_only=True)
    name: str = field(default="", kw_only=True, compare=False)

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top[0].label

    @property
    def score(self) -> float:
        """The probability of the most probable class, 0 to 1."""
        return self.top[0].score


class Failure(ImageError):  # noqa: N818 - a result that is also an exception
    """Result of an image that cannot be classified; its text is the reason.

    Attributes:
        name: Path or name of the image; empty if it has none.
    """

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(reason)
        self.name = name


Outcome = Prediction | Failure
