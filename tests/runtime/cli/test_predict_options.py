import json
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_runtime.classifier import Classifier
from support.process import CommandResult

Predict = Callable[..., CommandResult]


def assert_refused(result: CommandResult, exit_code: int, *words: str) -> None:
    """Check that a command ended with one line on stderr that contains the words."""
    assert (result.returncode, result.stdout) == (exit_code, "")
    assert result.stderr.startswith("boats-predict: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either images"),
        (("a.jpg", "--watch", "."), "--watch"),
        (("a.jpg", "--json", "--csv"), "--json and --csv exclude each other: choose one"),
        (("a.jpg", "--json", "--output", "x"), "choose one"),
        (("a.jpg", "--resume"), "--resume requires --output FILE"),
        (("a.jpg", "--output", "broken.jpg"), "--output broken.jpg: file exists; add --resume"),
        (("a.jpg", "--journal", "done.jsonl"), "--journal requires --watch DIR"),
        (("--watch", ".", "--json"), "--watch prints JSON lines and excludes --json"),
        (("--watch", ".", "--output", "x"), "--watch prints JSON lines and excludes --output"),
        (("a.jpg", "--spreadsheet-safe"), "--spreadsheet-safe requires --csv"),
        (("--watch", "missing"), "--watch missing: folder does not exist"),
    ],
)
@pytest.mark.usefixtures("broken_path")
def test_predict__refused_combination(
    predict: Predict, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert_refused(predict(*arguments), 2, message)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jpg"]


@pytest.mark.parametrize(
    "options",
    [("--top", "0"), ("--sjon",), *(("--threshold", text) for text in ("-0.1", "1.1", "often"))],
)
def test_predict__invalid_option(
    predict: Predict, image_path: Path, options: tuple[str, ...]
) -> None:
    result = predict(image_path, *options, threshold=None)
    assert (result.returncode, result.stdout) == (2, "")
    assert options[0] in result.stderr


def test_predict__options_of_the_environment(predict: Predict, image_path: Path) -> None:
    result = predict("--json", image_path, env={"BOATS_PREDICT_TOP": "3"})
    assert len(json.loads(result.stdout)["predictions"][0]["top"]) == 3


# --- models


def test_predict__model_of_the_environment_or_the_folder(
    predict: Predict, image_path: Path, tiny_model: Path, tmp_path: Path, classifier: Classifier
) -> None:
    default = tmp_path / "boats.onnx"
    default.write_bytes(b"not a model")
    from_environment = predict(
        "--jsonl", image_path, model=None, env={"BOATS_MODEL": str(tiny_model)}
    )
    default.unlink()
    default.symlink_to(tiny_model)
    from_folder = predict("--jsonl", image_path, model=None)
    overridden = predict("--jsonl", image_path, env={"BOATS_MODEL": "missing.onnx"})
    for result in (from_environment, from_folder, overridden):
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout)["model"] == classifier.metadata.digest


def test_predict__no_model(predict: Predict, image_path: Path, tmp_path: Path) -> None:
    message = f"no boats.onnx in {tmp_path}"
    result = predict(image_path, model=None)
    assert_refused(result, 2, message, "--model", "BOATS_MODEL", "boats-export")


def test_predict__unusable_model(predict: Predict, image_path: Path) -> None:
    assert_refused(predict(image_path, model="missing.onnx"), 3, "missing.onnx: ")
    assert_refused(predict(image_path, model=image_path), 3, f"{image_path}: not an ONNX model")


# --- providers


def test_predict__auto_reports_the_provider(predict: Predict, image_path: Path) -> None:
    result = predict(image_path, "--jsonl", provider=None)
    assert result.returncode == 0
    provider = json.loads(result.stdout)["provider"]
    assert result.stderr.startswith(f"boats-predict: on {provider}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("provider", "exit_code"), [("tpu", 2), ("migraphx", 4)])
def test_predict__unusable_provider(
    predict: Predict, image_path: Path, provider: str, exit_code: int
) -> None:
    assert_refused(predict(image_path, provider=provider), exit_code, provider)
