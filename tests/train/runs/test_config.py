import pytest

from boats_runtime.errors import RunError, UsageError
from boats_train.runs.config import MIN_SIDE, TrainConfig, parse_image_size

GRADIENT = {"model": "finetune", "learning_rate": 0.1, "epochs": 1, "batch_size": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "forest"}, "--model forest: choose one of .*svm"),
        ({"height": MIN_SIDE - 1}, f"--image-size {MIN_SIDE - 1}x800: each side must be "),
        ({"width": MIN_SIDE - 1}, f"--image-size 240x{MIN_SIDE - 1}: each side"),
        ({"height": 8193}, "--image-size 8193x800: each side"),
        ({"width": 0}, "--image-size 240x0: each side"),
        ({"seed": -1}, "--seed -1: must be 0 to 4294967295"),
        ({"seed": 2**32}, "--seed 4294967296: must be"),
        ({"unfreeze": "-1"}, "--unfreeze -1: must be all, or a number"),
        ({"learning_rate": 0.1}, "do not apply to --model svm with --unfreeze 0"),
        ({"epochs": 1}, "do not apply to --model svm with --unfreeze 0"),
        ({"batch_size": 1}, "do not apply to --model svm with --unfreeze 0"),
        ({"unfreeze": "some"}, "--unfreeze some: must be all, or a number"),
        ({"unfreeze": "auto", "learning_rate": -1.0}, "--lr -1: must be above 0"),
        ({"unfreeze": "2", "epochs": -1}, "--epochs and --batch-size must be 1 or more"),
        (GRADIENT | {"unfreeze": "auto"}, "--unfreeze auto is for --model svm"),
        (GRADIENT | {"learning_rate": 0.0}, "--lr 0: must be above 0"),
        (GRADIENT | {"learning_rate": float("nan")}, "--lr nan: must be above 0"),
        (GRADIENT | {"learning_rate": float("inf")}, "--lr inf: must be above 0"),
        (GRADIENT | {"epochs": 0}, "--epochs and --batch-size must be 1 or more"),
        (GRADIENT | {"batch_size": 0}, "--epochs and --batch-size must be 1 or more"),
        (GRADIENT | {"tune": False}, "--groups and --tune are for --model svm"),
        (GRADIENT | {"groups": "x"}, "--groups and --tune are for --model svm"),
        (GRADIENT | {"model": "cnn", "unfreeze": "1"}, "do not apply to --model cnn"),
        (GRADIENT | {"model": "cnn", "from_run": "runs/x"}, "do not apply to --model cnn"),
    ],
)
def test_train_config__invalid_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig("data", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"height": MIN_SIDE, "width": 8192},
        {"seed": 0},
        {"seed": 2**32 - 1},
        {"image_size": "auto"},
        {"image_size": ""},
        {"unfreeze": "auto"},
        {"unfreeze": "2", "epochs": 3, "learning_rate": 1e-3, "batch_size": 8},
        GRADIENT,
    ],
)
def test_from_json__result_of_to_json(changes: dict[str, object]) -> None:
    config = TrainConfig("la mia barca", **changes)  # type: ignore[arg-type]
    assert TrainConfig.from_json(config.to_json()) == config


def test_to_json__stored_names() -> None:
    stored = TrainConfig("data", **GRADIENT).to_json()  # type: ignore[arg-type]
    assert (stored["rate"], stored["batch"]) == (0.1, 1)
    assert stored.keys().isdisjoint({"learning_rate", "batch_size"})


def test_from_json__run_without_an_image_size() -> None:
    stored = TrainConfig("data", image_size="auto").to_json()
    assert stored.pop("image_size") == "auto"
    config = TrainConfig.from_json(stored)
    assert (config.image_size, config.to_json()) == ("", stored)


JSON = TrainConfig("data").to_json()


@pytest.mark.parametrize(
    "value",
    [None, [], {key: JSON[key] for key in JSON if key != "seed"}, JSON | {"learning_rate": 0.1}],
    ids=["null", "list", "missing key", "unknown key"],
)
def test_from_json__other_keys(value: object) -> None:
    with pytest.raises(RunError, match=r"exactly the keys .*backbone, .*seed"):
        TrainConfig.from_json(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", None),
        ("backbone", ["resnet18"]),
        ("height", "240"),
        ("height", 1.0),
        ("seed", True),
    ],
)
def test_from_json__value_of_another_type(key: str, value: object) -> None:
    with pytest.raises(RunError, match=f"config: {key} is "):
        TrainConfig.from_json(JSON | {key: value})


def test_from_json__invalid_value() -> None:
    with pytest.raises(RunError, match="config: --image-size 240x1: each side"):
        TrainConfig.from_json(JSON | {"width": 1})


@pytest.mark.parametrize(
    ("text", "size"),
    [("240x800", (240, 800)), ("64X160", (64, 160)), ("0032x9", (32, 9)), ("224", (224, 224))],
)
def test_parse_image_size__height_is_first(text: str, size: tuple[int, int]) -> None:
    assert parse_image_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "square", "240x", "x800", "240 x 800", "-240x800", "24.0x800", "1x2x3", "²x³"]
)
def test_parse_image_size__not_integers(text: str) -> None:
    with pytest.raises(UsageError, match="expected auto, HEIGHTxWIDTH such as 240x800, or 224"):
        parse_image_size(text)
