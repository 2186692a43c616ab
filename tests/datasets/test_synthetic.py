import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_data import synthetic as demo
from boats_data.drawing import draw_photo
from boats_data.hulls import LABELS
from boats_data.synthetic import DEMO_COUNTS, write_demo_data
from boats_runtime.errors import OutputError, UsageError

COUNTS = {"water": (1, 1, 0), "gondola": (2, 1, 1)}


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def make(root: Path, seed: int = 0) -> dict[str, bytes]:
    write_demo_data(root, seed, COUNTS)
    return contents(root)


@pytest.mark.parametrize("label", LABELS)
def test_draw_photo__rgb_800_by_240(label: str) -> None:
    for seed in range(4):
        photo = draw_photo(label, np.random.default_rng(seed))
        assert (photo.mode, photo.size) == ("RGB", (800, 240))


@pytest.mark.parametrize("label", LABELS)
def test_draw_photo__no_two_alike(label: str) -> None:
    photos = {draw_photo(label, np.random.default_rng(seed)).tobytes() for seed in range(3)}
    assert len(photos) == 3


@pytest.mark.parametrize("label", [label for label in LABELS if label != "water"])
def test_draw_photo__boat_changes_the_water(label: str) -> None:
    # Everything up to the boat is drawn alike: what differs is the boat, its mirror image and,
    # as the streams part there, grain and exposure.
    boat, water = (
        np.asarray(draw_photo(name, np.random.default_rng(5)), dtype=float).mean(axis=2)
        for name in (label, "water")
    )
    apart = np.abs(boat - boat.mean() - water + water.mean()) > 30
    assert 0.02 < apart.mean() < 0.7


def test_draw_photo__unknown_label() -> None:
    with pytest.raises(UsageError, match=r"'submarine': .*water, ferry, motorboat"):
        draw_photo("submarine", np.random.default_rng(0))


def test_demo_counts__all_classes_unequal() -> None:
    assert set(DEMO_COUNTS) == set(LABELS)
    assert DEMO_COUNTS["ferry"] == (34, 6, 8)
    train, valid, test = (sum(numbers) for numbers in zip(*DEMO_COUNTS.values(), strict=True))
    assert (train, valid, test) == (126, 26, 38)
    assert len({numbers[0] for numbers in DEMO_COUNTS.values()}) == len(LABELS)


def test_make_demo_data__layout(tmp_path: Path) -> None:
    assert list(make(tmp_path / "new" / "demo")) == [
        ".boats-demo",
        "test/gondola/gondola_000.jpg",
        "train/gondola/gondola_000.jpg",
        "train/gondola/gondola_001.jpg",
        "train/water/water_000.jpg",
        "valid/gondola/gondola_000.jpg",
        "valid/water/water_000.jpg",
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["demo"]
    mark = json.loads((tmp_path / "new" / "demo" / ".boats-demo").read_text())
    assert mark == {"seed": 0, "counts": {"water": [1, 1, 0], "gondola": [2, 1, 1]}}


def test_make_demo_data__jpegs_of_the_one_size(tmp_path: Path) -> None:
    make(tmp_path / "demo")
    for path in (tmp_path / "demo").rglob("*.jpg"):
        with Image.open(path) as photo:
            assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (800, 240))


def test_make_demo_data__folder_opens_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    make(tmp_path / "demo")
    assert (tmp_path / "demo").stat().st_mode & 0o055 == 0o055


def test_make_demo_data__same_seed_same_bytes(tmp_path: Path) -> None:
    assert make(tmp_path / "one") == make(tmp_path / "two")


def test_make_demo_data__other_seed_differs(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", seed=0), make(tmp_path / "two", seed=1)
    assert list(one) == list(two)
    assert all(one[name] != two[name] for name in one)


def test_make_demo_data__every_photo_its_own(tmp_path: Path) -> None:
    photos = make(tmp_path / "demo")
    assert len(set(photos.values())) == len(photos)


def test_make_demo_data__stream_of_its_own_for_every_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []

    def draw(_: str, rng: np.random.Generator) -> Image.Image:
        states.append(str(rng.bit_generator.state))
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(demo, "draw_photo", draw)
    make(tmp_path / "demo")
    assert len(set(states)) == len(states) == 6


def test_make_demo_data__drawn_beside_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def draw(*_: object) -> Image.Image:
        seen.update(path.name[:9] for path in tmp_path.iterdir())
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(demo, "draw_photo", draw)
    make(tmp_path / "demo")
    assert seen == {".drawing-"}


def test_make_demo_data__more_photos_leave_the_others_as_they_are(tmp_path: Path) -> None:
    few = make(tmp_path / "few")
    write_demo_data(tmp_path / "many", 0, {"rowboat": (1, 0, 0), "gondola": (3, 2, 1)})
    many = contents(tmp_path / "many")
    for name in ("train/gondola/gondola_001.jpg", "valid/gondola/gondola_000.jpg"):
        assert few[name] == many[name]


def test_make_demo_data__existing_demo_reused(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    make(root)
    before = {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}
    inode = root.stat().st_ino
    make(root)
    assert {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))} == before
    assert root.stat().st_ino == inode


def test_make_demo_data__demo_of_another_seed_refused(tmp_path: Path) -> None:
    before = make(tmp_path / "demo", seed=3)
    with pytest.raises(UsageError, match=r"demo: exists and isn't this demo set .* seed 3"):
        make(tmp_path / "demo", seed=4)
    assert contents(tmp_path / "demo") == before


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"train/cat/felix.jpg": b"mine"},
        {".boats-demo": b"not JSON", "mine.txt": b"mine"},
        {".boats-demo": b"\xff\xfe", "mine.txt": b"mine"},
        {".boats-demo": b'["seed"]', "mine.txt": b"mine"},
        {".boats-demo/mine.txt": b"mine"},
    ],
    ids=["empty", "photos", "no_json", "no_text", "no_mark", "mark_is_folder"],
)
def test_make_demo_data__foreign_folder_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"photos: exists and isn't the demo set; name a folder"):
        make(root)
    assert contents(root) == files
    assert list(tmp_path.iterdir()) == [root]


def test_make_demo_data__file_in_the_way_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists and isn't the demo set"):
        make(tmp_path / "photos")
    assert (tmp_path / "photos").read_bytes() == b"mine"


def test_make_demo_data__dangling_link_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="exists and isn't the demo set"):
        make(tmp_path / "photos")
    assert list(tmp_path.iterdir()) == [tmp_path / "photos"]


def test_make_demo_data__parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"demo: the demo set can't be written: .*; make room"):
        make(tmp_path / "file" / "demo")
    assert contents(tmp_path) == {"file": b"mine"}


def test_make_demo_data__unknown_class_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'submarine'"):
        write_demo_data(tmp_path / "demo", 0, {"water": (1, 0, 0), "submarine": (1, 0, 0)})
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import sys
from pathlib import Path
from boats_runtime.errors import OutputError
from boats_data.synthetic import write_demo_data

try:
    write_demo_data(Path(sys.argv[1]), 0, {"water": (2, 1, 1)})
except OutputError as error:
    print(error)
    sys.exit(7)
"""


def test_make_demo_data__full_disk_leaves_nothing(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    result = subprocess.run(
        [sys.executable, "-B", "-c", FULL_DISK, tmp_path / "demo"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (7, "")
    assert result.stdout.startswith(f"{tmp_path / 'demo'}: the demo set can't be written: File too")
    assert list(tmp_path.iterdir()) == []
