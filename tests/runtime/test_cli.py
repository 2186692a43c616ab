import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
from PIL import Image

from boats_runtime.classifier import Classifier

COMMAND = "boats-predict"
LABELS = {"barca lunga", "gòndola", "topa"}
Result = subprocess.CompletedProcess[str]
Predict = Callable[..., Result]


@pytest.fixture
def predict(boats_command: Callable[..., Result], tmp_path: Path, tiny_model: Path) -> Predict:
    """Runs `boats-predict` in an empty folder, on the CPU, with the tiny model unless told."""

    def run(
        *arguments: object,
        model: Path | None = tiny_model,
        provider: str | None = "cpu",
        env: dict[str, str] | None = None,
    ) -> Result:
        options = ["--model", model] if model else []
        options += ["--provider", provider] if provider else []
        result = boats_command(COMMAND, *options, *arguments, cwd=tmp_path, env=env)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def broken(tmp_path: Path, photo: Path) -> Path:
    path = tmp_path / "broken.jpg"
    path.write_bytes(photo.read_bytes()[:500])
    return path


def assert_refused(result: Result, exit_code: int, *words: str) -> None:
    """Checks that a command ended with one line on stderr, which holds the words."""
    assert (result.returncode, result.stdout) == (exit_code, "")
    assert result.stderr.startswith(f"{COMMAND}: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


# --- what it prints


def test_predict__table(predict: Predict, photo: Path, classifier: Classifier) -> None:
    result = predict(photo)
    expected = classifier.predict(photo)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{photo}   {expected.label} {expected.score:.3f}\n"


def test_predict__table_of_several(predict: Predict, photo_set: Path) -> None:
    photos = sorted(photo_set.glob("test/*/*.jpg"))
    result = predict(*photos)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [line.split(".jpg")[0] + ".jpg" for line in lines] == [str(path) for path in photos]
    width = max(len(str(path)) for path in photos)
    assert {line[width : width + 3] for line in lines} == {"   "}
    assert all(line[width + 3] != " " for line in lines)


@pytest.mark.parametrize(("top", "shown"), [(2, 2), (99, 3)])
def test_predict__top(
    predict: Predict, photo: Path, classifier: Classifier, top: int, shown: int
) -> None:
    result = predict(photo, "--top", top)
    scores = classifier.predict(photo).top[:shown]
    cells = "   ".join(f"{score.label} {score.score:.3f}" for score in scores)
    assert result.stdout == f"{photo}   {cells}\n"


def test_predict__json(
    predict: Predict, photo: Path, tiny_model: Path, classifier: Classifier
) -> None:
    result = predict("--json", photo, "--top", 2)
    assert (result.returncode, result.stderr) == (0, "")
    output = json.loads(result.stdout)
    expected = classifier.predict(photo)
    latency_ms = output["predictions"][0].pop("latency_ms")
    assert isinstance(latency_ms, float)
    assert latency_ms > 0
    assert output == {
        "schema_version": 1,
        "model": str(tiny_model),
        "provider": "cpu",
        "predictions": [
            {
                "path": str(photo),
                "status": "ok",
                "label": expected.label,
                "score": pytest.approx(expected.score, abs=1e-6),
                "top": [
                    {"label": score.label, "score": pytest.approx(score.score, abs=1e-6)}
                    for score in expected.top[:2]
                ],
            }
        ],
    }


def test_predict__auto_says_where_it_runs(predict: Predict, photo: Path) -> None:
    result = predict(photo, "--json", provider=None)
    output = json.loads(result.stdout)
    assert result.returncode == 0
    assert result.stderr.startswith(f"{COMMAND}: on {output['provider']}: ")
    assert result.stderr.count("\n") == 1


# --- photos


def test_predict__one_bad_photo_does_not_stop_the_rest(
    predict: Predict, photo: Path, broken: Path, tmp_path: Path, classifier: Classifier
) -> None:
    missing = tmp_path / "missing.jpg"
    result = predict(photo, broken, missing, photo)
    assert result.returncode == 1
    assert result.stderr == f"{COMMAND}: 2 of 4 photos could not be read\n"
    first, second, third, fourth = result.stdout.splitlines()
    assert first.split() == [
        str(photo), classifier.predict(photo).label, f"{classifier.predict(photo).score:.3f}"
    ]  # fmt: skip
    assert second.split(maxsplit=2)[:2] == [str(broken), "error:"]
    assert third.split(maxsplit=2) == [
        str(missing), "error:", "can't be read: No such file or directory"
    ]  # fmt: skip
    assert fourth == first


def test_predict__one_bad_photo_in_json(predict: Predict, photo: Path, broken: Path) -> None:
    result = predict("--json", broken, photo)
    assert result.returncode == 1
    assert result.stderr == f"{COMMAND}: 1 of 2 photos could not be read\n"
    bad, good = json.loads(result.stdout)["predictions"]
    assert bad.keys() == {"path", "status", "error"}
    assert (bad["path"], bad["status"]) == (str(broken), "error")
    assert bad["error"]
    assert (good["path"], good["status"]) == (str(photo), "ok")
    assert good["label"] in LABELS


def test_predict__no_photo_can_be_read(predict: Predict, broken: Path, tmp_path: Path) -> None:
    result = predict(broken, tmp_path)
    assert result.returncode == 1
    assert result.stderr == f"{COMMAND}: 2 of 2 photos could not be read\n"
    assert [" error: " in line for line in result.stdout.splitlines()] == [True, True]


def test_predict__pillows_warnings_are_not_shown(predict: Predict, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    Image.new("RGB", (99, 33)).save(damaged, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    result = predict(damaged)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
def test_predict__name_that_is_not_text(predict: Predict, photo: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes(photo.read_bytes())
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    result = predict(name, env=strict)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(r"caf\udce9.jpg")
    result = predict("--json", name, env=strict)
    assert json.loads(result.stdout)["predictions"][0]["path"] == name


def test_predict__no_photos(predict: Predict) -> None:
    result = predict()
    assert (result.returncode, result.stdout) == (2, "")
    assert "IMAGE" in result.stderr


@pytest.mark.parametrize("options", [["--top", "0"], ["--provider", "tpu"], ["--sjon"]])
def test_predict__mistyped_option(predict: Predict, photo: Path, options: list[str]) -> None:
    result = predict(photo, *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert options[0] in result.stderr


def test_predict__closed_pipe(tiny_model: Path, photo: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [Path(sys.executable).parent / COMMAND, "--model", tiny_model, "--provider", "cpu", photo],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() == 0


# --- models


def test_predict__model_of_this_folder(
    predict: Predict, photo: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "boats.onnx").symlink_to(tiny_model)
    result = predict("--json", photo, model=None)
    assert result.returncode == 0
    assert json.loads(result.stdout)["model"] == "boats.onnx"


def test_predict__model_of_the_environment(
    predict: Predict, photo: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "boats.onnx").write_bytes(b"not this one")
    result = predict("--json", photo, model=None, env={"BOATS_MODEL": str(tiny_model)})
    assert result.returncode == 0
    assert json.loads(result.stdout)["model"] == str(tiny_model)


def test_predict__model_asked_for_comes_first(predict: Predict, photo: Path) -> None:
    result = predict(photo, env={"BOATS_MODEL": "none.onnx"})
    assert (result.returncode, result.stderr) == (0, "")


def test_predict__options_of_the_environment(predict: Predict, photo: Path) -> None:
    result = predict("--json", photo, env={"BOATS_PREDICT_TOP": "3"})
    assert len(json.loads(result.stdout)["predictions"][0]["top"]) == 3


def test_predict__no_model(predict: Predict, photo: Path, tmp_path: Path) -> None:
    result = predict(photo, model=None)
    assert_refused(
        result, 2, f"no boats.onnx in {tmp_path}", "--model", "BOATS_MODEL", "boats-export"
    )


def test_predict__missing_model(predict: Predict, photo: Path) -> None:
    assert_refused(predict(photo, model="none.onnx"), 3, "none.onnx: no such model file")


def test_predict__no_onnx_file(predict: Predict, photo: Path) -> None:
    assert_refused(predict(photo, model=photo), 3, f"{photo}: not a model ONNX Runtime can open")


def test_predict__model_of_others(predict: Predict, photo: Path, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    stripped = tiny_model.with_name("stripped.onnx")
    onnx.save(model, stripped)
    assert_refused(predict(photo, model=stripped), 3, str(stripped), "export it with boats-export")


def test_predict__model_of_a_newer_boats(predict: Predict, photo: Path, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    for entry in model.metadata_props:
        if entry.key == "boats.schema_version":
            entry.value = "99"
    newer = tiny_model.with_name("newer.onnx")
    onnx.save(model, newer)
    assert_refused(predict(photo, model=newer), 3, str(newer), "pip install --upgrade boats")


# --- providers


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="the ONNX Runtime installed here has CUDA",
)
def test_predict__cuda_is_not_there(predict: Predict, photo: Path) -> None:
    result = predict(photo, provider="cuda")
    assert_refused(result, 4, "provider cuda", "pip install 'boats[gpu]'")


def test_predict__two_onnx_runtimes(predict: Predict, photo: Path, tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / "more" / f"{name.replace('-', '_')}-1.28.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.28.0\n")
    path = os.pathsep.join(filter(None, [str(tmp_path / "more"), os.environ.get("PYTHONPATH")]))
    result = predict(photo, env={"PYTHONPATH": path})
    assert_refused(result, 4, "both installed", "pip uninstall -y onnxruntime onnxruntime-gpu")
