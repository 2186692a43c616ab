import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest

from boats_export.accuracy_check import MAX_DROP
from boats_runtime.classifier import Classifier
from support.process import CommandResult, run_command

Main = Callable[..., object]
Capture = pytest.CaptureFixture[str]


def make_workspace(folder: Path, run: Path, older: str = "") -> Path:
    """Create a folder with `runs/latest`, and with an older file if it has content."""
    (folder / "runs").mkdir(parents=True)
    (folder / "runs" / "latest").symlink_to(run)
    if older:
        (folder / "boats.onnx").write_text(older)
    return folder


@pytest.fixture(scope="module")
def result(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> CommandResult:
    """The export of `runs/latest` without arguments."""
    folder = make_workspace(tmp_path_factory.mktemp("workspace"), tiny_run)
    return run_command("boats-export", "--format", "onnx", cwd=folder)


def test_export__default_run_and_file(result: CommandResult, image_path: Path) -> None:
    assert result.returncode == 0, result.stderr
    assert list(result.files()) == ["boats.onnx"]
    size = result.files()["boats.onnx"] / 1e6
    first, *proof = result.stdout.splitlines()
    assert first == f"boats.onnx: {size:.1f} MB, fp32; verified:"
    assert len(proof) == 5
    assert "boats-export: runs/latest: svm on resnet18, 3 classes\n" in result.stderr
    assert "Warning" not in result.stderr
    classifier = Classifier(result.folder / "boats.onnx", "cpu")
    assert classifier.metadata.labels == ("barca lunga", "gòndola", "topa")
    assert classifier.predict(image_path).label in classifier.metadata.labels


def test_export__same_graph_as_the_python_api(result: CommandResult, tiny_model: Path) -> None:
    exported, expected = (onnx.load(path) for path in (result.folder / "boats.onnx", tiny_model))
    assert exported.graph == expected.graph
    assert [entry.key for entry in exported.metadata_props] == [
        entry.key for entry in expected.metadata_props
    ]


def test_export__disk_is_full(tiny_run: Path, tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "workspace", tiny_run, "older")
    result = run_command("boats-export", cwd=folder, file_size_limit=1_000_000)
    assert result.returncode == 3, result.stderr
    message = "boats-export: boats.onnx: cannot be written: File too large"
    assert result.stderr.splitlines()[-1] == message
    assert result.stdout == ""
    assert result.files() == {"boats.onnx": len("older")}


def test_export__interrupted(tiny_run: Path, tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "workspace", tiny_run, "older")
    result = run_command("boats-export", cwd=folder, interrupt_at="exporting the network")
    assert result.returncode == 130, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert result.files() == {"boats.onnx": len("older")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "nowhere/boats.onnx"), "--out nowhere/boats.onnx: must be a file in an"),
        (("--out", "folder"), "--out folder: must be a file in an existing folder"),
        (("--format", "tflite"), "--format"),
        (("--precision", "int4"), "--precision"),
        (("--opset", "17"), "--opset"),
        (("run", "--batch", "0"), "--batch 0: must be dynamic, or 1 to 1024"),
        (("--max-drop", "1"), "--max-drop is for --precision fp16 or int8"),
        (("--target", "any"), "--target is for --precision int8"),
        (("--allow-lost-classes",), "--allow-lost-classes is for --precision fp16 or int8"),
        (("run", "another"), "unexpected extra argument"),
    ],
)
def test_export__wrong_arguments(
    run_main: Main, tmp_path: Path, capsys: Capture, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "folder").mkdir()
    assert run_main(*arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert message in errors
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_export__option_from_the_environment(
    run_main: Main, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("BOATS_EXPORT_OUT", "nowhere/x.onnx")
    assert run_main("run") == 2
    assert "--out nowhere/x.onnx: must be" in capsys.readouterr().err


def test_export__help(run_main: Main, capsys: Capture) -> None:
    assert run_main("--help") == 0
    output = capsys.readouterr().out
    assert output.startswith("Usage: boats-export [OPTIONS] [run]\n")
    assert "boats-export inspect boats.onnx" in output


def test_export__help_states_the_allowed_losses(run_main: Main, capsys: Capture) -> None:
    assert run_main("--help") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "largest loss, N points of accuracy and 2N of macro-F1." in output
    assert f"default: ({MAX_DROP});" in output
    assert "accept that a class is no longer recognized" in output


def test_export__no_run(run_main: Main, tmp_path: Path, capsys: Capture) -> None:
    assert run_main() == 3
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("boats-export: runs/latest: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["backbone.safetensors", "estimator.skops", "config.json"])
def test_export__altered_run(
    run_main: Main, tiny_run: Path, tmp_path: Path, capsys: Capture, name: str
) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    content = bytearray((tiny_run / name).read_bytes())
    content[-9] ^= 1
    (tmp_path / "run" / name).write_bytes(content)
    assert run_main("run") == 3
    assert capsys.readouterr().err.startswith(f"boats-export: run: {name} ")
    assert not (tmp_path / "boats.onnx").exists()


def test_export__no_validation_images(
    run_main: Main, tiny_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert run_main(tiny_run, "--data", "nowhere") == 3
    message = "boats-export: nowhere/valid: no images to verify the export on; give --data DIR"
    assert capsys.readouterr().err.splitlines()[-1] == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_export__folder_is_not_writable(run_main: Main, tiny_run: Path, capsys: Capture) -> None:
    assert run_main(tiny_run, "--out", "/proc/boats.onnx") == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("boats-export: /proc/boats.onnx: cannot be written: ")


@pytest.mark.usefixtures("quick_network")
def test_export__verified_on_other_images(
    run_main: Main, tiny_run: Path, dataset_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(dataset_folder / "test", tmp_path / "images" / "valid")
    assert run_main(tiny_run, "--data", "images", "--out", "other.onnx") == 0
    output = capsys.readouterr().out
    assert output.startswith("other.onnx: ")
    assert "8 of 8" in output
    assert (tmp_path / "other.onnx").is_file()


@pytest.mark.usefixtures("quick_network")
def test_export__int8_with_card_and_layout(
    run_main: Main, tiny_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ("--precision", "int8", "--max-drop", 100, "--target", "any", "--card")
    assert run_main(tiny_run, *arguments, "--batch", 2, "--opset", 20, "--with-features") == 0
    assert "model card: boats.md" in capsys.readouterr().out
    card = (tmp_path / "boats.md").read_text(encoding="utf-8")
    assert card.startswith("# boats.onnx\n")
    assert "barca lunga, gòndola, topa" in card
    model = onnx.load(tmp_path / "boats.onnx")
    assert [entry.version for entry in model.opset_import] == [20]
    assert [output.name for output in model.graph.output] == ["label", "probabilities", "features"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


@pytest.mark.usefixtures("quick_network")
def test_export__folder_of_runs(
    run_main: Main, tiny_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    make_workspace(tmp_path, tiny_run)
    assert run_main("runs") == 0
    output, errors = capsys.readouterr()
    assert output.startswith("boats.onnx: ")
    assert "boats-export: runs/latest: svm on resnet18, 3 classes\n" in errors


@pytest.mark.usefixtures("quick_network")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask for groups")
def test_export__files_follow_the_umask(run_main: Main, tiny_run: Path, tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        assert run_main(tiny_run, "--card") == 0
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"boats.onnx": 0o640, "boats.md": 0o640}


@pytest.mark.usefixtures("quick_network")
def test_export__says_what_of_fp16_is_verified(
    run_main: Main, tiny_run: Path, tmp_path: Path, capsys: Capture
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an ONNX Runtime without CUDA")
    assert run_main(tiny_run, "--precision", "fp16", "--card") == 0
    output, errors = capsys.readouterr()
    statement = "storage verified only"
    assert statement in output
    assert "float16 arithmetic is not verified: provider cuda is not in this" in errors
    assert statement in (tmp_path / "boats.md").read_text(encoding="utf-8")
    assert run_main("inspect") == 0
    assert statement in capsys.readouterr().out
