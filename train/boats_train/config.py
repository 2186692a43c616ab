"""The resolved configuration of a training run."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from boats_runtime.errors import RunError, UsageError
from boats_runtime.preprocess import MAX_SIDE

MODELS = ("svm",)

MIN_SIDE = 32
"""Smallest side of a network's input: torchvision's networks halve it five times."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns.

    Attributes:
        data: The picture set's folder.
        model: What is fitted on the features: `svm`.
        backbone: Name of a torchvision classification network.
        weights: `imagenet`, `none` (random, from the seed), or a file's path.
        height: Rows of the network's input, 32 to 8192.
        width: Columns of the network's input, 32 to 8192.
        seed: Seed of everything random, 0 or more.

    Raises:
        UsageError: A value is out of its range.
    """

    data: str
    model: str = "svm"
    backbone: str = "resnet50"
    weights: str = "imagenet"
    height: int = 240
    width: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise UsageError(f"--model {self.model}: choose one of {', '.join(MODELS)}")
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (self.height, self.width)):
            raise UsageError(
                f"--image-size {self.height}x{self.width}: each side must be "
                f"{MIN_SIDE} to {MAX_SIDE}"
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed}: must be 0 to 4294967295")

    @classmethod
    def from_json(cls, value: object) -> "TrainConfig":
        """Reads what `to_json` wrote.

        Raises:
            RunError: A key is missing or unknown, or a value has another type.
        """
        types = {field.name: field.type for field in fields(cls)}
        if not isinstance(value, dict) or set(value) != set(types):
            raise RunError(f"its config does not have exactly the keys {', '.join(sorted(types))}")
        for key, item in value.items():
            if type(item) is not types[key]:
                raise RunError(f"its config has {key} = {item!r}")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Returns the configuration as JSON values."""
        return asdict(self)


def parse_image_size(text: str) -> tuple[int, int]:
    """Reads an image size, height first, like `240x800`.

    Raises:
        UsageError: Not two whole numbers with an x between.
    """
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise UsageError(f"--image-size {text}: expected HEIGHTxWIDTH, like 240x800")
    return int(height), int(width)
