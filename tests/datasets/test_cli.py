import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from boats_data import cli as data_cli
from boats_data.check.checks import check_data
from boats_data.check.report import MAX_ROWS, SHOWN, to_json, to_lines
from boats_runtime.cli import app as command
from boats_runtime.errors import UsageError
from support.process import run_command


@pytest.fixture
def photos(dataset_folder: Path, tmp_path: Path) -> Path:
    """A copy of the picture set, to be spoiled."""
    return Path(shutil.copytree(dataset_folder, tmp_path / "photos"))


@pytest.fixture
def sound(photos: Path) -> Path:
    """The picture set with five photos and more of each class: nothing to find."""
    drawn = iter(sorted(photos.rglob("*.jpg")))
    folder = photos.with_name("sound")
    for split in ("train", "valid"):
        for label in ("a", "b"):
            (folder / split / label).mkdir(parents=True)
            for number in range(5):
                shutil.copyfile(next(drawn), folder / split / label / f"{number}.jpg")
    return folder


@pytest.fixture
def archive(dataset_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """An archive of the picture set, and its manifest."""
    path, manifest = tmp_path / "photos.zip", tmp_path / "photos.sha256"
    with zipfile.ZipFile(path, "w") as file, manifest.open("w", encoding="utf-8") as lines:
        for photo in sorted(dataset_folder.rglob("*.jpg")):
            name = photo.relative_to(dataset_folder).as_posix()
            file.write(photo, name)
            lines.write(f"{hashlib.sha256(photo.read_bytes()).hexdigest()}  {name}\n")
    return path, manifest


def test_check__sound_set_exits_0(sound: Path, tmp_path: Path) -> None:
    done = run_command("boats-data", "check", sound, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{sound}: 20 photos of 2 classes"
    assert lines[2:6] == [
        "class    train    valid",
        "a            5        5",
        "b            5        5",
        "all         10       10",
    ]
    assert "200x60      RGB   JPEG         20" in lines
    assert lines[-1] == "No findings."


def test_check__findings_exit_1(photos: Path, tmp_path: Path) -> None:
    (photos / "train/topa/cut.jpg").write_bytes(b"\xff\xd8\xff")
    done = run_command("boats-data", "check", photos, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "error: corrupt-photos: 1 photo can't be decoded." in done.stdout
    assert "    train/topa/cut.jpg: " in done.stdout
    assert "  Replace or remove them: training skips them." in done.stdout


def test_check__json_tells_the_same(photos: Path, tmp_path: Path) -> None:
    done = run_command("boats-data", "check", photos, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert report["schema_version"] == 1
    assert report["data"] == str(photos)
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
        (("check", "nowhere"), 3, "boats-data: nowhere: no such folder"),
        (("check", "."), 3, "has no folder train/"),
        (("check", "photos", "--groups", "("), 2, "--groups (: not a regular expression"),
        (("fetch", "photos"), 2, "boats-data: photos: is there, and is not what would be fetched"),
        (("fetch", "--url", "ftp://host/a"), 2, "boats-data: --url ftp://host/a: not an address"),
        (("fetch", "--archive", "none"), 2, "boats-data: --archive none: no such file"),
    ],
)
def test_commands__mistakes_end_in_a_message_and_a_code(
    photos: Path,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    before = sorted(photos.parent.rglob("*"))
    done = run_command("boats-data", *arguments, cwd=photos.parent)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(photos.parent.rglob("*")) == before


def test_fetch__from_a_file_exits_0_twice(archive: tuple[Path, Path], tmp_path: Path) -> None:
    options = ("--archive", archive[0], "--manifest", archive[1])
    done = run_command("boats-data", "fetch", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "data: 24 photos, each as it should be\n")
    assert done.stderr.splitlines() == ["boats-data: unpacking", "boats-data: checking every file"]
    done = run_command("boats-data", "fetch", "data", *options, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "data: 24 photos, already there and as they should be\n"
    assert done.stderr == ""


def test_fetch__other_data_exits_3(archive: tuple[Path, Path], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = run_command("boats-data", "fetch", "new", "--archive", archive[0], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1] == (
        f"boats-data: {archive[0]}: the archive holds none of the 5,193 files; nothing was written"
    )
    assert sorted(tmp_path.iterdir()) == before


def test_help__names_the_commands(tmp_path: Path) -> None:
    done = run_command("boats-data", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "check" in done.stdout
    assert "fetch" in done.stdout
    assert "--manifest" not in run_command("boats-data", "fetch", "-h", cwd=tmp_path).stdout


def test_check__loads_nothing_that_downloads_or_learns(sound: Path) -> None:
    code = (
        "import sys; from boats_data.check.checks import check_data; from pathlib import Path; "
        f"check_data(Path({str(sound)!r})); "
        "print([name for name in ('torch', 'sklearn', 'pooch', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["check", "fetch"])
def test_commands__without_the_extra_name_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'boats\[train\]'"):
        getattr(data_cli, name)(tmp_path)


def test_to_lines__many_examples_are_cut(sound: Path) -> None:
    for number in range(SHOWN + 3):
        (sound / f"train/a/broken{number}.jpg").write_bytes(b"")
    report = check_data(sound)
    lines = list(to_lines(report))
    assert sum(line.startswith("    train/a/broken") for line in lines) == SHOWN
    assert "    and 3 more" in lines
    assert len(to_json(report)["findings"][0]["examples"]) == SHOWN + 3


def test_to_lines__many_days_are_cut_but_all_counted(sound: Path) -> None:
    for number, path in enumerate(sorted(sound.rglob("*.jpg"))):
        path.rename(path.with_name(f"201303{number + 1:02}_{path.name}"))
    lines = list(to_lines(check_data(sound)))
    rows = lines[lines.index("day         train    valid") + 1 :]
    assert rows[0] == "20130301        1        0"
    assert rows[MAX_ROWS] == "... 8 more"
    assert rows[MAX_ROWS + 1] == "all            10       10"
