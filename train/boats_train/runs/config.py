"""The resolved configuration of a training run."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from boats_runtime.errors import RunError, UsageError
from boats_runtime.preprocessing import MAX_SIDE

MODELS = ("svm", "finetune", "cnn")

_STORED_NAMES = {"learning_rate": "rate", "batch_size": "batch"}
"""Keys of `config.json` that differ from the field names; run folders keep their format."""

MIN_SIDE = 24
"""Smallest side of a network's input."""


MAX_RATE = 100.0
"""Highest learning rate."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run learns.

    Attributes:
        data: The picture set's folder.
        model: What is fitted: `svm` or `finetune` on the backbone's features, or `cnn`.
        backbone: Name of a torchvision classification network; `small_cnn` for `cnn`.
        weights: `imagenet`, `none` (random, from the seed), or a file's path.
        height: Rows of the network's input, 24 to 8192.
        width: Columns of the network's input, 24 to 8192.
        seed: Seed of everything random, 0 or more.
        tune: `svm`: whether its setting is searched for; else it is the report's.
        groups: `svm`: regular expression for the photos' groups; empty looks for dates.
        learning_rate: `finetune`, `cnn`: learning rate, above 0; else 0.
        epochs: `finetune`, `cnn`: how often the photos are seen, 1 or more; else 0.
        batch_size: `finetune`, `cnn`: photos a step, 1 or more; else 0.
        unfreeze: `finetune`: how many of the backbone's last blocks learn, `all` of them, or `0`.
        from_run: The run whose network is taken instead of a backbone with weights; else empty.

    Raises:
        UsageError: A value is out of its range, or is of no use to the model.
    """

    data: str
    model: str = "svm"
    backbone: str = "resnet50"
    weights: str = "imagenet"
    height: int = 240
    width: int = 800
    seed: int = 0
    tune: bool = True
    groups: str = ""
    learning_rate: float = 0.0
    epochs: int = 0
    batch_size: int = 0
    unfreeze: str = "0"
    from_run: str = ""

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
        if self.unfreeze != "all" and not self.unfreeze.isdecimal():
            raise UsageError(f"--unfreeze {self.unfreeze}: must be all, or a number of blocks")
        if self.model == "svm":
            self._check_svm()
        else:
            self._check_epochs()

    @classmethod
    def from_json(cls, value: object) -> "TrainConfig":
        """Reads what `to_json` wrote.

        Raises:
            RunError: A key is missing or unknown, or a value has another type.
        """
        types = {_STORED_NAMES.get(field.name, field.name): field.type for field in fields(cls)}
        if not isinstance(value, dict) or set(value) != set(types):
            raise RunError(f"its config does not have exactly the keys {', '.join(sorted(types))}")
        for key, item in value.items():
            if type(item) is not types[key]:
                raise RunError(f"its config has {key} = {item!r}")
        try:
            return cls(
                **{
                    field.name: value[_STORED_NAMES.get(field.name, field.name)]
                    for field in fields(cls)
                }
            )
        except UsageError as error:
            raise RunError(f"its config has {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Returns the configuration as JSON values."""
        return {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}

    def _check_svm(self) -> None:
        if self.learning_rate or self.epochs or self.batch_size or self.unfreeze != "0":
            raise UsageError(
                "--lr, --epochs, --batch-size and --unfreeze are for --model finetune or cnn"
            )

    def _check_epochs(self) -> None:
        if self.groups or not self.tune:
            raise UsageError("--groups and --tune are for --model svm")
        if not 0 < self.learning_rate <= MAX_RATE:
            raise UsageError(
                f"--lr {self.learning_rate:g}: must be above 0 and at most {MAX_RATE:g}"
            )
        if self.epochs < 1 or self.batch_size < 1:
            raise UsageError("--epochs and --batch-size must be 1 or more")
        if self.model == "cnn" and (self.unfreeze != "0" or self.from_run):
            raise UsageError("--unfreeze and --from are for the other models: the CNN learns whole")


def parse_image_size(text: str) -> tuple[int, int]:
    """Reads an image size, height first, like `240x800`.

    Raises:
        UsageError: Not two whole numbers with an x between.
    """
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise UsageError(f"--image-size {text}: expected HEIGHTxWIDTH, like 240x800")
    return int(height), int(width)
