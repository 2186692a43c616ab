"""Names with control characters, FIFOs and devices in datasets."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from boats_data.check.checks import check_data
from boats_data.check.report import to_json, to_lines
from boats_data.dataset import scan_classes, scan_dataset
from boats_runtime.errors import DataError
from boats_runtime.text import is_printable
from support.hostile_names import find_control, make_names
from support.images import draw_image
from support.process import run_command
from support.special_files import make_special_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset with hostile file names, every fourth of them broken."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data\x1b[2J"
    for number, name in enumerate(make_names(120, in_file_names=True)):
        label, split = number % 2, ("train", "valid")[number // 2 % 2]
        folder = root / split / ("gòndola", "topa")[label]
        folder.mkdir(parents=True, exist_ok=True)
        if number % 4 == 3:
            (folder / f"{name}.jpg").write_bytes(b"broken")
        else:
            draw_image(label, rng).save(folder / f"{name}.jpg", "JPEG")
        (root / split / f"{name}.txt").touch()
    return root


def test_scan_classes__hostile_class_names(tmp_path: Path) -> None:
    for name in make_names(500, in_file_names=True):
        if name in {"", "."}:
            continue
        folder = tmp_path / name
        folder.mkdir()
        if name.startswith(".") or is_printable(name):
            assert set(scan_classes(tmp_path)) <= {name}
        else:
            with pytest.raises(DataError, match="the name of a class must not have control"):
                scan_classes(tmp_path)
        folder.rmdir()


def test_check__hostile_file_names(root: Path) -> None:
    result = run_command("boats-data", "check", root, "--groups", "(.*)", cwd=root.parent)
    assert result.returncode == 1
    assert "corrupt-photos" in result.stdout
    assert find_control(result.stdout + result.stderr) == ""
    text = json.dumps(to_json(check_data(root)))
    assert text.isascii()
    assert text.isprintable()


def test_check_data__special_files(dataset_folder: Path, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        for path in (dataset_folder / split).iterdir():
            (tmp_path / split / path.name).mkdir()
            for image in path.iterdir():
                (tmp_path / split / path.name / image.name).symlink_to(image)
    names = make_special_files(tmp_path / "train" / "topa")
    (tmp_path / "train" / "topa" / "dangling.jpg").symlink_to("missing")
    assert len(scan_dataset(tmp_path).splits["train"].paths) == 17
    lines = list(to_lines(check_data(tmp_path)))
    for name in names:
        assert f"    train/topa/{name}: cannot be read: not a regular file" in lines
    assert "    train/topa/dangling.jpg: cannot be read: No such file or directory" in lines
