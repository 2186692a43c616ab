import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
from PIL import Image

from boats_runtime.classifier import Classifier
from support.process import CommandResult, run_command

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

COMMAND = "boats-predict"
LABELS = {"barca lunga", "gòndola", "topa"}
Result = CommandResult
Predict = Callable[..., Result]


@pytest.fixture
def predict(tmp_path: Path, tiny_model: Path) -> Predict:
    """Runs `boats-predict` in an empty folder, on the CPU, with the tiny model unless told."""

    def run(
        *arguments: object,
        model: Path | None = tiny_model,
        provider: str | None = "cpu",
        threshold: float | str | None = None,
        env: dict[str, str] | None = None,
    ) -> Result:
        options = ["--model", model] if model else []
        options += ["--provider", provider] if provider else []
        options += ["--threshold", "0"] if threshold is None else ["--threshold", str(threshold)]
        if threshold == "model":
            del options[-2:]
        result = run_command(COMMAND, *options, *arguments, cwd=tmp_path, env=env)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def broken(tmp_path: Path, image_path: Path) -> Path:
    path = tmp_path / "broken.jpg"
    path.write_bytes(image_path.read_bytes()[:500])
    return path


def assert_refused(result: Result, exit_code: int, *words: str) -> None:
    """Checks that a command ended with one line on stderr, which holds the words."""
    assert (result.returncode, result.stdout) == (exit_code, "")
    assert result.stderr.startswith(f"{COMMAND}: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


# --- what it prints


def test_predict__table(predict: Predict, image_path: Path, classifier: Classifier) -> None:
    result = predict(image_path)
    expected = classifier.predict(image_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{image_path}   {expected.label} {expected.score:.3f}\n"


def test_predict__table_of_several(predict: Predict, dataset_folder: Path) -> None:
    photos = sorted(dataset_folder.glob("test/*/*.jpg"))
    result = predict(*photos)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [line.split(".jpg")[0] + ".jpg" for line in lines] == [str(path) for path in photos]
    width = max(len(str(path)) for path in photos)
    assert {line[width : width + 3] for line in lines} == {"   "}
    assert all(line[width + 3] != " " for line in lines)


@pytest.mark.parametrize(("top", "shown"), [(2, 2), (99, 3)])
def test_predict__top(
    predict: Predict, image_path: Path, classifier: Classifier, top: int, shown: int
) -> None:
    result = predict(image_path, "--top", top)
    scores = classifier.predict(image_path).top[:shown]
    cells = "   ".join(f"{score.label} {score.score:.3f}" for score in scores)
    assert result.stdout == f"{image_path}   {cells}\n"


def test_predict__json(predict: Predict, image_path: Path, classifier: Classifier) -> None:
    result = predict("--json", image_path, "--top", 2)
    assert (result.returncode, result.stderr) == (0, "")
    output = json.loads(result.stdout)
    expected = classifier.predict(image_path)
    latency_ms = output["predictions"][0].pop("latency_ms")
    assert isinstance(latency_ms, float)
    assert latency_ms > 0
    assert output == {
        "schema_version": 1,
        "predictions": [
            {
                "schema_version": 1,
                "path": str(image_path),
                "status": "ok",
                "unknown": False,
                "provider": "cpu",
                "model": classifier.metadata.digest,
                "label": expected.label,
                "score": pytest.approx(expected.score, abs=1e-6),
                "top": [
                    {"label": score.label, "score": pytest.approx(score.score, abs=1e-6)}
                    for score in expected.top[:2]
                ],
            }
        ],
    }


def test_predict__auto_says_where_it_runs(predict: Predict, image_path: Path) -> None:
    result = predict(image_path, "--json", provider=None)
    output = json.loads(result.stdout)
    assert result.returncode == 0
    provider = output["predictions"][0]["provider"]
    assert result.stderr.startswith(f"{COMMAND}: on {provider}: ")
    assert result.stderr.count("\n") == 1


# --- unknown


def test_predict__under_the_threshold_is_unknown(
    predict: Predict, image_path: Path, classifier: Classifier
) -> None:
    score = classifier.predict(image_path).score
    assert predict(image_path, threshold=score + 0.01).stdout.startswith(f"{image_path}   unknown: ")
    assert "unknown" not in predict(image_path, threshold=score - 0.01).stdout


def test_predict__threshold_of_the_model(
    predict: Predict, dataset_folder: Path, classifier: Classifier
) -> None:
    threshold = classifier.metadata.threshold
    assert threshold
    result = predict("--jsonl", dataset_folder, threshold="model")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["unknown"] for row in rows] == [row["score"] < threshold for row in rows]


@pytest.mark.parametrize("value", ["-0.1", "1.1", "often"])
def test_predict__threshold_that_is_none(predict: Predict, image_path: Path, value: str) -> None:
    result = predict(image_path, threshold=value)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--threshold" in result.stderr


# --- for programs


def test_predict__jsonl_has_a_line_for_each_photo(
    predict: Predict, dataset_folder: Path, broken: Path
) -> None:
    photos = sorted(dataset_folder.glob("test/*/*.jpg"))
    result = predict("--jsonl", photos[0], broken, *photos[1:])
    assert result.returncode == 1
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == [str(path) for path in (photos[0], broken, *photos[1:])]
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "ok", "ok"]
    whole = json.loads(predict("--json", *photos).stdout)["predictions"]
    for row, same in zip(rows[:1] + rows[2:], whole, strict=True):
        assert {**row, "latency_ms": 0} == {**same, "latency_ms": 0}


def test_predict__csv(predict: Predict, image_path: Path, tmp_path: Path, broken: Path) -> None:
    named = tmp_path / 'with, "signs".jpg'
    named.write_bytes(image_path.read_bytes())
    result = predict("--csv", named, broken)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["path"] for row in rows] == [str(named), str(broken)]
    assert [row["status"] for row in rows] == ["ok", "error"]
    assert rows[0]["label"] in LABELS
    assert 0 < float(rows[0]["score"]) <= 1
    assert rows[1]["error"]


def test_predict__one_form_at_a_time(predict: Predict, image_path: Path) -> None:
    assert_refused(predict("--json", "--csv", image_path), 2, "choose one")


def test_predict__output_goes_on_after_kills(
    tiny_model: Path, dataset_folder: Path, tmp_path: Path, broken: Path
) -> None:
    """Killed again and again, no photo is done twice and none is lost."""
    photos = [str(path) for path in sorted(dataset_folder.rglob("*.jpg"))]
    (tmp_path / "list.txt").write_text("\n".join([str(broken), *photos]))
    command = [
        Path(sys.executable).parent / COMMAND, "--model", tiny_model, "--provider", "cpu",
        "--output", "results.jsonl", "--resume", "@list.txt",
    ]  # fmt: skip
    results = tmp_path / "results.jsonl"
    kills = 0
    for stop in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        lines = results.read_bytes().count(b"\n") if results.exists() else 0
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
        while process.poll() is None and (
            not results.exists() or results.read_bytes().count(b"\n") <= lines
        ):
            time.sleep(0.002)
        process.send_signal(stop)
        process.communicate()
        kills += process.returncode in (-signal.SIGKILL, 130)
        with results.open("ab") as stream:
            stream.write(b'{"path": "half a li')
    assert kills
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["path"] for row in rows] == [str(broken), *photos]
    assert [row["status"] for row in rows] == ["error"] + ["ok"] * len(photos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "--resume goes on with a file: name it with --output"),
        (["--output", "x", "--json"], "choose one"),
        (["--output", "there"], "--output there: is there already; --resume"),
    ],
)
def test_predict__output_refused(
    predict: Predict, image_path: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    (tmp_path / "there").touch()
    assert_refused(predict(*options, image_path), 2, message)


# --- photos


@pytest.mark.parametrize("argument", ["test", "test/*/*.jpg", "test/**/*.jpg", "test/./"])
def test_predict__folder_or_pattern(predict: Predict, dataset_folder: Path, argument: str) -> None:
    expected = [str(path) for path in sorted(dataset_folder.glob("test/*/*.jpg"))]
    result = predict("--jsonl", f"{dataset_folder}/{argument}")
    assert (result.returncode, result.stderr) == (0, "")
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == expected


def test_predict__photo_on_standard_input(
    tiny_model: Path, image_path: Path, classifier: Classifier
) -> None:
    command = [Path(sys.executable).parent / COMMAND, "--model", tiny_model, "--provider", "cpu"]
    result = subprocess.run(
        [*command, "--jsonl", "-"], input=image_path.read_bytes(), capture_output=True, check=True
    )
    row = json.loads(result.stdout)
    assert (row["path"], row["label"]) == ("-", classifier.predict(image_path).label)


def test_predict__one_bad_photo_does_not_stop_the_rest(
    predict: Predict, image_path: Path, broken: Path, tmp_path: Path, classifier: Classifier
) -> None:
    missing = tmp_path / "missing.jpg"
    result = predict(image_path, broken, missing, image_path)
    assert result.returncode == 1
    assert result.stderr == f"{COMMAND}: 2 of 4 photos could not be read\n"
    first, second, third, fourth = result.stdout.splitlines()
    assert first.split() == [
        str(image_path), classifier.predict(image_path).label, f"{classifier.predict(image_path).score:.3f}"
    ]  # fmt: skip
    assert second.split(maxsplit=2)[:2] == [str(broken), "error:"]
    assert third.split(maxsplit=2) == [
        str(missing), "error:", "can't be read: No such file or directory"
    ]  # fmt: skip
    assert fourth == first


def test_predict__one_bad_photo_in_json(predict: Predict, image_path: Path, broken: Path) -> None:
    result = predict("--json", broken, image_path)
    assert result.returncode == 1
    assert result.stderr == f"{COMMAND}: 1 of 2 photos could not be read\n"
    bad, good = json.loads(result.stdout)["predictions"]
    assert bad.keys() == {"schema_version", "path", "status", "error"}
    assert (bad["path"], bad["status"]) == (str(broken), "error")
    assert bad["error"]
    assert (good["path"], good["status"]) == (str(image_path), "ok")
    assert good["label"] in LABELS


def test_predict__no_photo_can_be_read(predict: Predict, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = predict(broken, tmp_path / "empty")
    assert result.returncode == 1
    assert result.stderr == f"{COMMAND}: 2 of 2 photos could not be read\n"
    assert [" error: " in line for line in result.stdout.splitlines()] == [True, True]


def test_predict__pillows_warnings_are_not_shown(predict: Predict, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    Image.new("RGB", (99, 33)).save(damaged, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    result = predict(damaged)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
def test_predict__name_that_is_not_text(predict: Predict, image_path: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes(image_path.read_bytes())
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


@pytest.mark.parametrize("options", [["--top", "0"], ["--sjon"]])
def test_predict__mistyped_option(predict: Predict, image_path: Path, options: list[str]) -> None:
    result = predict(image_path, *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert options[0] in result.stderr


def test_predict__unknown_provider(predict: Predict, image_path: Path) -> None:
    assert_refused(predict(image_path, provider="tpu"), 2, "no provider is called tpu: auto, cuda, ")


def test_predict__closed_pipe(tiny_model: Path, image_path: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [Path(sys.executable).parent / COMMAND, "--model", tiny_model, "--provider", "cpu", image_path],
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
    predict: Predict, image_path: Path, tiny_model: Path, tmp_path: Path, classifier: Classifier
) -> None:
    (tmp_path / "boats.onnx").symlink_to(tiny_model)
    result = predict("--json", image_path, model=None)
    assert result.returncode == 0
    (prediction,) = json.loads(result.stdout)["predictions"]
    assert prediction["model"] == classifier.metadata.digest


def test_predict__model_of_the_environment(
    predict: Predict, image_path: Path, tiny_model: Path, tmp_path: Path, classifier: Classifier
) -> None:
    (tmp_path / "boats.onnx").write_bytes(b"not this one")
    result = predict("--json", image_path, model=None, env={"BOATS_MODEL": str(tiny_model)})
    assert result.returncode == 0
    (prediction,) = json.loads(result.stdout)["predictions"]
    assert prediction["model"] == classifier.metadata.digest


def test_predict__model_asked_for_comes_first(predict: Predict, image_path: Path) -> None:
    result = predict(image_path, env={"BOATS_MODEL": "none.onnx"})
    assert (result.returncode, result.stderr) == (0, "")


def test_predict__options_of_the_environment(predict: Predict, image_path: Path) -> None:
    result = predict("--json", image_path, env={"BOATS_PREDICT_TOP": "3"})
    assert len(json.loads(result.stdout)["predictions"][0]["top"]) == 3


def test_predict__no_model(predict: Predict, image_path: Path, tmp_path: Path) -> None:
    result = predict(image_path, model=None)
    assert_refused(
        result, 2, f"no boats.onnx in {tmp_path}", "--model", "BOATS_MODEL", "boats-export"
    )


def test_predict__missing_model(predict: Predict, image_path: Path) -> None:
    assert_refused(predict(image_path, model="none.onnx"), 3, "none.onnx: no such model file")


def test_predict__no_onnx_file(predict: Predict, image_path: Path) -> None:
    assert_refused(predict(image_path, model=image_path), 3, f"{image_path}: not an ONNX model")


def test_predict__model_of_others(predict: Predict, image_path: Path, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    stripped = tiny_model.with_name("stripped.onnx")
    onnx.save(model, stripped)
    assert_refused(predict(image_path, model=stripped), 3, str(stripped), "export it with boats-export")


def test_predict__model_of_a_newer_boats(predict: Predict, image_path: Path, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    for entry in model.metadata_props:
        if entry.key == "boats.schema_version":
            entry.value = "99"
    newer = tiny_model.with_name("newer.onnx")
    onnx.save(model, newer)
    assert_refused(predict(image_path, model=newer), 3, str(newer), "pip install --upgrade boats")


# --- providers


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="the ONNX Runtime installed here has CUDA",
)
def test_predict__cuda_is_not_there(predict: Predict, image_path: Path) -> None:
    result = predict(image_path, provider="cuda")
    assert_refused(result, 4, "provider cuda", "pip install 'boats[gpu]'")


def test_predict__two_onnx_runtimes(predict: Predict, image_path: Path, tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / "more" / f"{name.replace('-', '_')}-1.28.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.28.0\n")
    path = os.pathsep.join(filter(None, [str(tmp_path / "more"), os.environ.get("PYTHONPATH")]))
    result = predict(image_path, env={"PYTHONPATH": path})
    assert_refused(result, 4, "both installed", "pip uninstall -y onnxruntime onnxruntime-gpu")
