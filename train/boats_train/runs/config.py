"""Configuration of a training run."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from boats_runtime.errors import RunError, UsageError
from boats_runtime.preprocessing import MAX_SIDE

MODELS = ("svm", "finetune", "cnn")

_STORED_NAMES = {"learning_rate": "rate", "batch_size": "batch"}
"""Keys of `config.json` that differ from the names of the fields."""

_LATER_KEYS = {"image_size": ""}
"""Keys that older versions did not write, each with the value that stands for such a run."""

AUTO = "auto"
"""Value of `--image-size` that follows the sizes of the training images, and of `--unfreeze`."""

MIN_SIDE = 24
"""Smallest side of the input of a network in pixels."""

MAX_LEARNING_RATE = 100.0


@dataclass(frozen=True)
class TrainConfig:
    """Configuration that, together with the dataset, determines a run.

    Attributes:
        data: Folder of the dataset.
        model: Classifier: `svm` or `finetune` on the features of the backbone, or `cnn`.
        backbone: Name of a network of torchvision, `timm:NAME`, or `package.module:factory`;
            `small_cnn` for `cnn`.
        weights: `imagenet`, `none` (random), `factory` (as the user's own code makes them), or
            the path of a state dict.
        height, width: Size of the network input in pixels, 24 to 8192.
        image_size: `auto` or the size as it was given; empty in older runs.
        seed: Random seed, 0 to 4294967295.
        tune: `svm`: whether to search for hyperparameters.
        groups: `svm`: regular expression for the groups of images; empty for dates.
        learning_rate, epochs, batch_size: `finetune`, `cnn`: above 0. `svm`: 0, or above 0 for
            another value than the default of fine-tuning.
        unfreeze: Number of last blocks of the backbone to train, or `all`; `svm`: also `auto`.
        from_run: Folder of the run that provides the network; empty for a new network.

    Raises:
        UsageError: If a value is out of range or does not apply to the model.
    """

    data: str
    model: str = "svm"
    backbone: str = "resnet50"
    weights: str = "imagenet"
    height: int = 240
    width: int = 800
    image_size: str = ""
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
        if min(self.height, self.width) < MIN_SIDE or max(self.height, self.width) > MAX_SIDE:
            size = f"{self.height}x{self.width}"
            raise UsageError(f"--image-size {size}: each side must be {MIN_SIDE} to {MAX_SIDE}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed {self.seed}: must be 0 to 4294967295")
        if self.unfreeze not in (AUTO, "all") and not self.unfreeze.isdecimal():
            raise UsageError(
                f"--unfreeze {self.unfreeze}: must be all, or a number of blocks; or auto with "
                "--model svm"
            )
        if self.model == "svm":
            self._check_svm()
            return
        if self.groups or not self.tune:
            raise UsageError("--groups and --tune are for --model svm")
        if self.unfreeze == AUTO:
            raise UsageError("--unfreeze auto is for --model svm: give a number of blocks")
        self._check_schedule(lowest=1)
        if self.model == "cnn" and (self.unfreeze != "0" or self.from_run):
            raise UsageError("--unfreeze and --from do not apply to --model cnn")

    def _check_svm(self) -> None:
        """Check the schedule of an SVM, where 0 stands for the default of fine-tuning."""
        if self.unfreeze == "0":
            if self.learning_rate or self.epochs or self.batch_size:
                options = "--lr, --epochs and --batch-size"
                raise UsageError(f"{options} do not apply to --model svm with --unfreeze 0")
            return
        self._check_schedule(lowest=0)

    def _check_schedule(self, lowest: int) -> None:
        if not (0 < self.learning_rate <= MAX_LEARNING_RATE or self.learning_rate == lowest == 0):
            limits = f"above 0 and at most {MAX_LEARNING_RATE:g}"
            raise UsageError(f"--lr {self.learning_rate:g}: must be {limits}")
        if self.epochs < lowest or self.batch_size < lowest:
            raise UsageError("--epochs and --batch-size must be 1 or more")

    @classmethod
    def from_json(cls, value: object) -> "TrainConfig":
        """Create a configuration from the result of `to_json`.

        Raises:
            RunError: If a key is missing or unknown, or a value is invalid.
        """
        stored = {_STORED_NAMES.get(field.name, field.name): field for field in fields(cls)}
        if not isinstance(value, dict) or set(_LATER_KEYS | value) != set(stored):
            raise RunError(f"config: expected exactly the keys {', '.join(sorted(stored))}")
        for key, item in value.items():
            if type(item) is not stored[key].type:
                raise RunError(f"config: {key} is {item!r}")
        try:
            return cls(**{stored[key].name: item for key, item in value.items()})
        except UsageError as error:
            raise RunError(f"config: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values; a run of an older version keeps its keys."""
        values = {_STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}
        older = {name for name, value in _LATER_KEYS.items() if values[name] == value}
        return {name: value for name, value in values.items() if name not in older}


def parse_image_size(text: str) -> tuple[int, int]:
    """Parse an image size, such as `240x800` or `224` for a square, into height and width.

    Raises:
        UsageError: If the text is not one integer, or two separated by an x.
    """
    height, separator, width = text.lower().partition("x")
    if not separator:
        width = height
    if not (height.isdecimal() and width.isdecimal()):
        raise UsageError(
            f"--image-size {text}: expected {AUTO}, HEIGHTxWIDTH such as 240x800, or 224 for "
            "224x224"
        )
    return int(height), int(width)
