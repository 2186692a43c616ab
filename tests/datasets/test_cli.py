import json
import shutil
from pathlib import Path

import pytest

from boats_data import cli as data_cli
from boats_data.check.checks import check_data
from boats_data.check.report import MAX_EXAMPLES, MAX_ROWS, to_json, to_lines
from boats_runtime.cli import app as app_module
from boats_runtime.errors import UsageError
from support.archives import INTACT, write_manifest
from support.checked_dataset import CheckedDataset
from support.process import run_command, run_module


@pytest.fixture
def images(dataset_folder: Path, tmp_path: Path) -> Path:
    """A copy of a dataset with small classes."""
    return Path(shutil.copytree(dataset_folder, tmp_path / "images"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "images.zip"
    path.write_bytes(INTACT["zip"])
    return path


def test_check__no_findings_exit_0(dataset: CheckedDataset, tmp_path: Path) -> None:
    result = run_command("boats-data", "check", dataset.root, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{dataset.root}: 20 images of 2 classes"
    assert lines[2:6] == [
        "class    train    valid",
        "a            5        5",
        "b            5        5",
        "all         10       10",
    ]
    assert "160x48      RGB   JPEG         20" in lines
    assert lines[-1] == "No findings."


def test_check__findings_exit_1(images: Path, tmp_path: Path) -> None:
    (images / "train/topa/cut.jpg").write_bytes(b"\xff\xd8\xff")
    result = run_command("boats-data", "check", images, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, "")
    assert "error: corrupt-photos: 1 image cannot be decoded." in result.stdout
    assert "    train/topa/cut.jpg: " in result.stdout
    assert "  Replace or remove them: training skips them." in result.stdout


def test_check__json(images: Path, tmp_path: Path) -> None:
    result = run_command("boats-data", "check", images, "--json", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, "")
    report = json.loads(result.stdout)
    assert report["schema_version"] == 1
    assert report["data"] == str(images)
    assert report["photos"] == 24
    assert report["classes"]["gòndola"] == {"train": 4, "valid": 2, "test": 1}
    assert report["images"] == [
        {"format": "JPEG", "mode": "RGB", "width": 200, "height": 60, "photos": 24}
    ]
    assert report["groups"] == {"train": {}, "valid": {}, "test": {}}
    assert [finding["code"] for finding in report["findings"]] == ["small-classes"] * 3
    first = report["findings"][0]
    assert set(first) == {
        "code", "severity", "count", "message", "advice", "examples", "more",
    }  # fmt: skip
    assert first["examples"] == ["topa: 3", "gòndola: 4"]
    assert (first["severity"], first["count"], first["more"]) == ("warning", 2, 0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing"),
        (("check",), 2, "Missing argument 'DIR'"),
        (("check", "nowhere"), 3, "boats-data: nowhere: folder does not exist"),
        (("check", "."), 3, "has no folder train/"),
        (("check", "images", "--groups", "("), 2, "--groups (: not a regular expression"),
        (("fetch", "images"), 2, "boats-data: images: exists and is not the dataset to be fetched"),
        (("fetch", "--url", "ftp://host/a"), 2, "boats-data: --url ftp://host/a: must start with"),
        (("fetch", "--archive", "none"), 2, "boats-data: --archive none: file does not exist"),
    ],
)
def test_commands__mistake(
    images: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    before = sorted(images.parent.rglob("*"))
    result = run_command("boats-data", *arguments, cwd=images.parent)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(images.parent.rglob("*")) == before


def test_fetch__from_a_file_twice(archive: Path, tmp_path: Path) -> None:
    options = ("--archive", archive, "--manifest", write_manifest(tmp_path / "images.sha256"))
    first = run_command("boats-data", "fetch", *options, cwd=tmp_path)
    assert (first.returncode, first.stdout) == (0, "data: 18 images, all verified\n")
    assert first.stderr.splitlines() == [
        "boats-data: unpacking",
        "boats-data: verifying every file",
    ]
    second = run_command("boats-data", "fetch", "data", *options, cwd=tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == "data: already contains the 18 images, all verified\n"


def test_fetch__other_data_exits_3(archive: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = run_command("boats-data", "fetch", "new", "--archive", archive, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.splitlines()[-1] == (
        f"boats-data: {archive}: the archive contains none of the 5,193 files; nothing was written"
    )
    assert sorted(tmp_path.iterdir()) == before


def test_help__lists_commands_but_not_hidden_options(tmp_path: Path) -> None:
    result = run_command("boats-data", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "check" in result.stdout
    assert "fetch" in result.stdout
    assert "--manifest" not in run_command("boats-data", "fetch", "-h", cwd=tmp_path).stdout


def test_check__imports_neither_pooch_nor_scikit_learn(dataset: CheckedDataset) -> None:
    result = run_module(
        "support.list_modules", "boats_data.cli:main", "check", dataset.root, check=True
    )
    modules = result.stdout.splitlines()[-1].split()
    assert "boats_data.check.checks" in modules
    assert not {"torch", "sklearn", "pooch", "requests", "rich"} & set(modules)


def test_fetch__missing_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(app_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install .*\[train\]'"):
        data_cli.fetch(tmp_path)


def test_to_lines__prints_the_first_examples(dataset: CheckedDataset) -> None:
    for number in range(MAX_EXAMPLES + 3):
        (dataset.root / f"train/a/broken{number}.jpg").write_bytes(b"")
    report = check_data(dataset.root)
    lines = list(to_lines(report))
    assert sum(line.startswith("    train/a/broken") for line in lines) == MAX_EXAMPLES
    assert "    and 3 more" in lines
    assert len(to_json(report)["findings"][0]["examples"]) == MAX_EXAMPLES + 3


def test_to_lines__prints_the_first_days_and_the_total(dataset: CheckedDataset) -> None:
    for number, path in enumerate(sorted(dataset.root.rglob("*.jpg"))):
        path.rename(path.with_name(f"201303{number + 1:02}_{path.name}"))
    lines = list(to_lines(check_data(dataset.root)))
    rows = lines[lines.index("day         train    valid") + 1 :]
    assert rows[0] == "20130301        1        0"
    assert rows[MAX_ROWS] == "... 8 more"
    assert rows[MAX_ROWS + 1] == "all            10       10"
