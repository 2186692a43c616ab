import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest

from boats_export import export
from boats_export.cli import main
from boats_runtime.classifier import Classifier
from boats_train.runs.run import Run
from support.process import run_command

Outcomes = dict[str, "Future[Any]"]


@pytest.fixture(scope="module")
def outcomes(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """Exports in processes of their own, two at a time: most of their time goes to imports."""
    root = tmp_path_factory.mktemp("outcomes")
    run_export = partial(run_command, "boats-export")

    def folder(name: str, older: bool) -> Path:
        """Makes a folder with `runs/latest`, and perhaps with a file of an earlier export."""
        (root / name / "runs").mkdir(parents=True)
        (root / name / "runs" / "latest").symlink_to(tiny_run)
        if older:
            (root / name / "boats.onnx").write_text("older")
        return root / name

    with ThreadPoolExecutor(2) as pool:
        yield {
            "well": pool.submit(run_export, cwd=folder("well", older=False)),
            "disk full": pool.submit(
                run_export, cwd=folder("full", older=True), file_size_limit=1_000_000
            ),
            "interrupted": pool.submit(
                run_export,
                cwd=folder("interrupted", older=True),
                interrupt_at="exporting the network",
            ),
        }
        pool.shutdown(cancel_futures=True)


def test_export__run_and_file_by_default(outcomes: Outcomes, dataset_folder: Path) -> None:
    outcome = outcomes["well"].result()
    assert outcome.returncode == 0, outcome.stderr
    assert list(outcome.files()) == ["boats.onnx"]
    size = outcome.files()["boats.onnx"] / 1e6
    first, *proof = outcome.stdout.splitlines()
    assert first == f"boats.onnx: {size:.1f} MB, fp32; proved:"
    assert proof[:2] == [
        "  compared on           7 valid photos, 4 hard ones",
        "  same label            11 of 11",
    ]
    assert proof[2].startswith("  probabilities within  ")
    assert "boats-export: runs/latest: svm on resnet18, 3 classes\n" in outcome.stderr
    assert "Warning" not in outcome.stderr
    classifier = Classifier(outcome.folder / "boats.onnx", "cpu")
    assert classifier.metadata.labels == ("barca lunga", "gòndola", "topa")
    assert classifier.predict(dataset_folder / "test" / "topa" / "00.jpg").label in (
        classifier.metadata.labels
    )


def test_export__same_graph_as_in_this_process(outcomes: Outcomes, tiny_model: Path) -> None:
    exported = onnx.load(outcomes["well"].result().folder / "boats.onnx")
    here = onnx.load(tiny_model)
    assert exported.graph.SerializeToString(deterministic=True) == here.graph.SerializeToString(
        deterministic=True
    )
    assert [entry.key for entry in exported.metadata_props] == [
        entry.key for entry in here.metadata_props
    ]


def test_export__disk_is_full(outcomes: Outcomes) -> None:
    outcome = outcomes["disk full"].result()
    assert outcome.returncode == 3, outcome.stderr
    last = outcome.stderr.splitlines()[-1]
    assert last == "boats-export: boats.onnx: can't be written: File too large"
    assert outcome.stdout == ""
    assert outcome.files() == {"boats.onnx": len("older")}


def test_export__interrupted(outcomes: Outcomes) -> None:
    outcome = outcomes["interrupted"].result()
    assert outcome.returncode == 130, outcome.stderr
    assert "exporting the network" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
    assert outcome.files() == {"boats.onnx": len("older")}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("--out", "nowhere/boats.onnx"),
            2,
            "--out nowhere/boats.onnx: must be a file in a folder",
        ),
        (("--out", "runs"), 2, "--out runs: must be a file in a folder that exists"),
        (("--format", "tflite"), 2, "--format"),
        (("--precision", "int4"), 2, "--precision"),
        (("--opset", "17"), 2, "--opset"),
        (("--batch", "0"), 2, "--batch 0: must be dynamic, or 1 to 1024"),
        (("--max-drop", "1"), 2, "--max-drop is for --precision fp16 or int8"),
        (("--target", "any"), 2, "--target is for --precision int8"),
    ],
)
def test_export__refused_at_once(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    outcome = run_command("boats-export", *arguments, cwd=tmp_path)
    assert outcome.returncode == code
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
    assert outcome.files() == {}


@pytest.fixture
def exit_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., object]:
    """Runs the command in this process, which has PyTorch already, and gives its exit code."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("BOATS_")]:
        monkeypatch.delenv(variable)

    def run(*arguments: object) -> object:
        monkeypatch.setattr(sys, "argv", ["boats-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code

    return run


def test_export__no_run(
    exit_of: Callable[..., object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of() == 3
    assert capsys.readouterr() == (
        "",
        "boats-export: runs/latest: no run here; train one with boats-train or name its folder\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["backbone.safetensors", "estimator.skops", "config.json"])
def test_export__run_was_altered(
    exit_of: Callable[..., object],
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for path in tiny_run.iterdir():
        if path.name != name:
            (run / path.name).symlink_to(path)
    content = bytearray((tiny_run / name).read_bytes())
    content[-9] ^= 1
    (run / name).write_bytes(content)
    assert exit_of("run") == 3
    message = f"boats-export: run: {name} is not the file that training wrote; train again"
    assert capsys.readouterr().err.splitlines()[-1] == message
    assert not (tmp_path / "boats.onnx").exists()


def test_export__no_photos_to_verify_on(
    exit_of: Callable[..., object],
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_of(tiny_run, "--data", "nowhere") == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        "boats-export: nowhere/valid: no photos to prove the export on; give --data DIR"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_export__folder_cant_be_written(
    exit_of: Callable[..., object], tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(tiny_run, "--out", "/proc/boats.onnx") == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("boats-export: /proc: can't be written: ")


@pytest.fixture
def quick(tiny_network: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests the seconds that PyTorch's exporter takes."""
    monkeypatch.setattr(export, "export_network", lambda *_: tiny_network)


@pytest.mark.usefixtures("quick")
def test_export__verified_on_photos_elsewhere(
    exit_of: Callable[..., object],
    tiny_run: Path,
    dataset_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(dataset_folder / "test", tmp_path / "photos" / "valid")
    assert exit_of(tiny_run, "--data", "photos", "--out", "mine.onnx") == 0
    assert "mine.onnx: " in (output := capsys.readouterr().out)
    assert "4 valid photos, 4 hard ones" in output
    assert (tmp_path / "mine.onnx").is_file()


@pytest.mark.usefixtures("quick")
def test_export__card_beside_the_file(
    exit_of: Callable[..., object],
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--precision", "int8", "--max-drop", 100, "--target", "any", "--card")
    assert exit_of(tiny_run, *arguments, "--batch", 2, "--opset", 20, "--with-features") == 0
    output = capsys.readouterr().out
    assert "model card: boats.md" in output
    assert "without the second fit" in output
    card = (tmp_path / "boats.md").read_text(encoding="utf-8")
    assert card.startswith("# boats.onnx\n")
    assert "barca lunga, gòndola, topa" in card
    model = onnx.load(tmp_path / "boats.onnx")
    assert [entry.version for entry in model.opset_import] == [20]
    assert [output.name for output in model.graph.output] == ["label", "probabilities", "features"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_inspect__says_what_is_in_the_file(
    exit_of: Callable[..., object], tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of("inspect", tiny_model) == 0
    output = capsys.readouterr().out
    assert "fp32, opset 18, unchanged since its export" in output
    assert "3: barca lunga, gòndola, topa" in output
    assert "64x160 RGB uint8" in output


def test_inspect__json(
    exit_of: Callable[..., object],
    tiny_model: Path,
    loaded_run: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_of("inspect", tiny_model, "--json") == 0
    read = json.loads(capsys.readouterr().out)
    assert read["labels"] == list(loaded_run.classes)
    assert read["provenance"]["proof"]["photos"] == 7


def other_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_byte, "its content does not match its own digest"),
        (lambda content: content[:-1000], "not an ONNX model"),
        (lambda _: b"no model", "not an ONNX model"),
        (lambda _: b"", "not an ONNX model"),
    ],
)
def test_inspect__changed_since(
    exit_of: Callable[..., object],
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[bytes], bytes],
    message: str,
) -> None:
    (tmp_path / "boats.onnx").write_bytes(spoil(tiny_model.read_bytes()))
    assert exit_of("inspect") == 3
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("boats-export inspect: boats.onnx: ")
    assert message in errors


def test_inspect__no_file(
    exit_of: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of("inspect", "gone.onnx") == 3
    assert capsys.readouterr().err == "boats-export inspect: gone.onnx: no such model file\n"
