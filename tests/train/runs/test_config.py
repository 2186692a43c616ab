from dataclasses import FrozenInstanceError

import pytest

from boats_runtime.errors import RunError, UsageError
from boats_train.runs.config import MIN_SIDE, TrainConfig, parse_image_size

EPOCHS: dict[str, object] = {"model": "finetune", "rate": 0.1, "epochs": 1, "batch": 1}


def test_train_config__defaults_are_the_reports() -> None:
    config = TrainConfig("data")
    assert config.backbone == "resnet50"
    assert config.weights == "imagenet"
    assert (config.height, config.width) == (240, 800)


def test_train_config__is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        TrainConfig("data").seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "forest"}, "--model forest: choose one of .*svm"),
        ({"height": MIN_SIDE - 1}, f"--image-size {MIN_SIDE - 1}x800: each side must be "),
        ({"width": MIN_SIDE - 1}, f"--image-size 240x{MIN_SIDE - 1}: each side"),
        ({"height": 8193}, "--image-size 8193x800: each side"),
        ({"width": 0}, "--image-size 240x0: each side"),
        ({"seed": -1}, "--seed -1: must be 0 to 4294967295"),
        ({"seed": 2**32}, "--seed 4294967296: must be"),
        ({"unfreeze": "-1"}, "--unfreeze -1: must be all, or a number"),
        ({"rate": 0.1}, "are for --model finetune or cnn"),
        ({"epochs": 1}, "are for --model finetune or cnn"),
        ({"batch": 1}, "are for --model finetune or cnn"),
        (EPOCHS | {"rate": 0.0}, "--lr 0: must be above 0"),
        (EPOCHS | {"rate": float("nan")}, "--lr nan: must be above 0"),
        (EPOCHS | {"rate": float("inf")}, "--lr inf: must be above 0"),
        (EPOCHS | {"epochs": 0}, "--epochs and --batch-size must be 1 or more"),
        (EPOCHS | {"batch": 0}, "--epochs and --batch-size must be 1 or more"),
        (EPOCHS | {"tune": False}, "--groups and --tune are for --model svm"),
        (EPOCHS | {"groups": "x"}, "--groups and --tune are for --model svm"),
        (EPOCHS | {"model": "cnn", "unfreeze": "1"}, "the CNN learns whole"),
        (EPOCHS | {"model": "cnn", "from_run": "runs/x"}, "the CNN learns whole"),
    ],
)
def test_train_config__value_out_of_range(changed: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig("data", **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [MIN_SIDE, 8192])
def test_train_config__smallest_and_largest_side(side: int) -> None:
    config = TrainConfig("data", height=side, width=side)
    assert (config.height, config.width) == (side, side)


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_train_config__smallest_and_largest_seed(seed: int) -> None:
    assert TrainConfig("data", seed=seed).seed == seed


def test_from_json__reads_what_to_json_wrote() -> None:
    config = TrainConfig("la/mia barca", "svm", "resnet18", "none", 64, 160, seed=7)
    assert TrainConfig.from_json(config.to_json()) == config
    other = TrainConfig("data", **EPOCHS)  # type: ignore[arg-type]
    assert TrainConfig.from_json(other.to_json()) == other


@pytest.mark.parametrize("value", [None, [], "config", 1, {}])
def test_from_json__not_an_object_with_the_keys(value: object) -> None:
    with pytest.raises(RunError, match=r"exactly the keys .*backbone, .*seed"):
        TrainConfig.from_json(value)


def test_from_json__key_missing() -> None:
    value = TrainConfig("data").to_json()
    del value["seed"]
    with pytest.raises(RunError, match="exactly the keys"):
        TrainConfig.from_json(value)


def test_from_json__key_unknown() -> None:
    with pytest.raises(RunError, match="exactly the keys"):
        TrainConfig.from_json(TrainConfig("data").to_json() | {"learning_rate": 0.1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", None),
        ("backbone", ["resnet18"]),
        ("height", "240"),
        ("height", 240.0),
        ("seed", True),
        ("seed", None),
    ],
)
def test_from_json__value_of_another_type(key: str, value: object) -> None:
    with pytest.raises(RunError, match=f"its config has {key} = "):
        TrainConfig.from_json(TrainConfig("data").to_json() | {key: value})


def test_from_json__value_out_of_range() -> None:
    with pytest.raises(RunError, match="--image-size 240x1: each side"):
        TrainConfig.from_json(TrainConfig("data").to_json() | {"width": 1})


@pytest.mark.parametrize(
    ("text", "size"), [("240x800", (240, 800)), ("64X160", (64, 160)), ("0032x9", (32, 9))]
)
def test_parse_image_size__height_comes_first(text: str, size: tuple[int, int]) -> None:
    assert parse_image_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "240",
        "240x",
        "x800",
        "240,800",
        "240 x 800",
        "-240x800",
        "24.0x800",
        "1x2x3",
        "²x³",
    ],
)
def test_parse_image_size__not_two_whole_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="expected HEIGHTxWIDTH, like 240x800"):
        parse_image_size(text)
