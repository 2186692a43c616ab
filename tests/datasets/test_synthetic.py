import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_data import synthetic
from boats_data.dataset import scan_dataset
from boats_data.groups import find_groups
from boats_data.synthetic import DEMO_COUNTS, draw_image, write_demo_data
from boats_runtime.errors import OutputError, UsageError
from support.limits import limit_file_size

COUNTS = {"water": (1, 1, 0), "gondola": (2, 1, 1)}
BOATS = [label for label in DEMO_COUNTS if label != "water"]


def read_files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def write_demo(root: Path, seed: int = 0) -> dict[str, bytes]:
    write_demo_data(root, seed, COUNTS)
    return read_files(root)


@pytest.mark.parametrize("label", DEMO_COUNTS)
def test_draw_image__size_and_variety(label: str) -> None:
    images = [draw_image(label, light, np.random.default_rng(light)) for light in range(4)]
    assert {(image.mode, image.size) for image in images} == {("RGB", (800, 240))}
    assert len({image.tobytes() for image in images}) == 4


@pytest.mark.parametrize("label", BOATS)
def test_draw_image__boat_changes_the_water(label: str) -> None:
    # Everything but the boat, its reflection and the exposure is equal.
    boat, water = (
        np.asarray(draw_image(name, 0, np.random.default_rng(5)), dtype=float).mean(axis=2)
        for name in (label, "water")
    )
    changed = np.abs(boat - np.median(boat) - water + np.median(water)) > 30
    assert 0.02 < changed.mean() < 0.7


def test_write_demo_data__readable_folder_of_jpegs(tmp_path: Path) -> None:
    assert list(write_demo(tmp_path / "new" / "demo")) == [
        ".boats-demo",
        "test/gondola/20240706_gondola_000.jpg",
        "train/gondola/20240511_gondola_000.jpg",
        "train/gondola/20240512_gondola_001.jpg",
        "train/water/20240511_water_000.jpg",
        "valid/gondola/20240608_gondola_000.jpg",
        "valid/water/20240608_water_000.jpg",
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["demo"]
    folder = tmp_path / "new" / "demo"
    marker = json.loads((folder / ".boats-demo").read_text())
    assert marker == {"seed": 0, "counts": {"water": [1, 1, 0], "gondola": [2, 1, 1]}}
    assert folder.stat().st_mode & 0o055 == 0o055
    for path in folder.rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (800, 240))


def test_write_demo_data__default_counts_and_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "draw_image", lambda *_: Image.new("RGB", (8, 8)))
    write_demo_data(tmp_path / "demo")
    splits = scan_dataset(tmp_path / "demo").splits
    assert {name: len(images.paths) for name, images in splits.items()} == {
        "train": 146, "valid": 29, "test": 41,
    }  # fmt: skip
    days = [set(find_groups(images.paths, None) or ()) for images in splits.values()]
    assert [len(split_days) for split_days in days] == [4, 4, 4]
    assert len(set.union(*days)) == 12


def test_write_demo_data__seed_determines_the_bytes(tmp_path: Path) -> None:
    first, second = write_demo(tmp_path / "first"), write_demo(tmp_path / "second")
    assert first == second
    assert len(set(first.values())) == len(first)
    other = write_demo(tmp_path / "other", seed=1)
    assert list(other) == list(first)
    assert all(other[name] != first[name] for name in first)


def test_write_demo_data__images_are_independent_of_counts(tmp_path: Path) -> None:
    first = write_demo(tmp_path / "first")
    write_demo_data(tmp_path / "second", 0, {"rowboat": (1, 0, 0), "gondola": (3, 2, 1)})
    second = read_files(tmp_path / "second")
    for name in (
        "train/gondola/20240512_gondola_001.jpg",
        "valid/gondola/20240608_gondola_000.jpg",
    ):
        assert first[name] == second[name]


def test_write_demo_data__existing_demo_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    write_demo(root)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*")}
    write_demo(root)
    assert before == {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*")
    }


def test_write_demo_data__other_seed_is_refused(tmp_path: Path) -> None:
    before = write_demo(tmp_path / "demo", seed=3)
    with pytest.raises(UsageError, match="demo: exists and is not the demo data of seed 4"):
        write_demo(tmp_path / "demo", seed=4)
    assert read_files(tmp_path / "demo") == before


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"train/cat/felix.jpg": b"user data"},
        {".boats-demo": b"not JSON", "user.txt": b"user data"},
        {".boats-demo": b"\xff\xfe", "user.txt": b"user data"},
        {".boats-demo/user.txt": b"user data"},
    ],
    ids=["empty", "images", "no JSON", "no text", "marker is a folder"],
)
def test_write_demo_data__other_folder_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    with pytest.raises(UsageError, match="images: exists and is not the demo data of seed 0"):
        write_demo(root)
    assert read_files(root) == files
    assert list(tmp_path.iterdir()) == [root]


def test_write_demo_data__no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"user data")
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="exists and is not the demo data"):
            write_demo(tmp_path / name)
    with pytest.raises(OutputError, match=r"demo: cannot write the demo data: .*; free some disk"):
        write_demo(tmp_path / "file" / "demo")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
    assert read_files(tmp_path) == {"file": b"user data"}


def test_write_demo_data__full_disk_leaves_nothing(tmp_path: Path) -> None:
    with (
        limit_file_size(2000),
        pytest.raises(OutputError, match=r"demo: cannot write the demo data: File too large"),
    ):
        write_demo(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []
