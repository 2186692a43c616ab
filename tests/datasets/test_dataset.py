import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from boats_data.dataset import digest_images, scan_classes, scan_dataset, scan_split
from boats_runtime.decoding import SUFFIXES
from boats_runtime.errors import DataError

CLASSES = ("gòndola", "topa", "船")
DIGESTS = tuple(hashlib.sha256(bytes([number])).digest() for number in range(4))
TARGETS = np.array([0, 1, 1, 2])


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    return make_files(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "valid/a/1.jpg", "valid/b/1.jpg")


def list_names(paths: tuple[Path, ...], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_scan_dataset__classes_and_splits(dataset_folder: Path) -> None:
    dataset = scan_dataset(dataset_folder)
    assert dataset.root == dataset_folder
    assert dataset.classes == ("barca lunga", "gòndola", "topa")
    assert {name: len(images.paths) for name, images in dataset.splits.items()} == {
        "train": 13, "valid": 7, "test": 4,
    }  # fmt: skip
    for images in dataset.splits.values():
        assert images.targets.dtype == np.int64
        folders = [path.parent.name for path in images.paths]
        assert folders == [dataset.classes[target] for target in images.targets]
    assert Counter(dataset.splits["train"].targets.tolist()) == {0: 6, 1: 4, 2: 3}


def test_scan_dataset__sorted_by_class_and_name(two_classes: Path) -> None:
    make_files(two_classes, "train/b/0.png", "train/a/10.jpg", "train/a/02.jpg", "train/B/9.jpg")
    images = scan_dataset(two_classes).splits["train"]
    assert list_names(images.paths, two_classes / "train") == [
        "B/9.jpg", "a/02.jpg", "a/1.jpg", "a/10.jpg", "b/0.png", "b/1.jpg",
    ]  # fmt: skip
    assert images.targets.tolist() == [0, 1, 1, 1, 2, 2]


def test_scan_dataset__ignores_hidden_and_other_files(two_classes: Path) -> None:
    before = scan_dataset(two_classes)
    make_files(
        two_classes,
        "train/a/._1.jpg",
        "train/a/notes.txt",
        "train/a/1.jpg.bak",
        "train/a/jpg",
        "train/a/inner.jpg/2.txt",
        "train/.cache/1.jpg",
        "train/README.md",
        "train/1.jpg",
        "valid/.DS_Store",
        "valid/.thumbs/1.jpg",
        "other/a/1.jpg",
    )
    after = scan_dataset(two_classes)
    assert after.classes == before.classes
    assert [images.paths for images in after.splits.values()] == [
        images.paths for images in before.splits.values()
    ]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES | {".JPG", ".Jpeg"}))
def test_scan_dataset__image_suffix(two_classes: Path, suffix: str) -> None:
    make_files(two_classes, f"valid/b/2{suffix}")
    paths = scan_dataset(two_classes).splits["valid"].paths
    assert two_classes / "valid" / "b" / f"2{suffix}" in paths


def test_scan_dataset__class_missing_from_valid(two_classes: Path) -> None:
    make_files(two_classes, "train/c/1.jpg")
    (two_classes / "valid" / "c").mkdir()
    dataset = scan_dataset(two_classes)
    assert (dataset.classes, list(dataset.splits)) == (("a", "b", "c"), ["train", "valid"])
    assert dataset.splits["valid"].targets.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("files", "folder", "message"),
    [
        ((), "nowhere", "nowhere: folder does not exist; pass a folder .*--demo"),
        (("file",), "file", "file: folder does not exist"),
        (("train/a/1.jpg",), ".", "has no folder valid/ with one folder of images per class"),
        (("valid/a/1.jpg",), ".", "has no folder train/ with one folder of images per class"),
        (("train/1.jpg", "valid/1.jpg"), ".", "train: no class folders; at least two classes"),
        (("train/a/1.jpg", "valid/1.jpg"), ".", "train: only the class a; at least two classes"),
    ],
)
def test_scan_dataset__not_a_dataset(
    tmp_path: Path, files: tuple[str, ...], folder: str, message: str
) -> None:
    make_files(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        scan_dataset(tmp_path / folder)


@pytest.mark.parametrize("file", [None, "notes.txt", ".1.jpg"])
def test_scan_dataset__class_without_images(two_classes: Path, file: str | None) -> None:
    empty = two_classes / "train" / "empty"
    empty.mkdir()
    if file:
        (empty / file).touch()
    with pytest.raises(DataError, match=r"train/empty: class has no images; add images or remove"):
        scan_dataset(two_classes)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_scan_dataset__split_without_images(two_classes: Path, split: str) -> None:
    make_files(two_classes, "test/a/1.jpg")
    for path in (two_classes / split).glob("*/*.jpg"):
        path.unlink()
    with pytest.raises(DataError, match=rf"{split}: contains no images \(.*\.jpg, .*\.webp\)"):
        scan_dataset(two_classes)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_scan_dataset__class_missing_from_train(two_classes: Path, split: str) -> None:
    make_files(two_classes, f"{split}/a/2.jpg", f"{split}/galleon/1.jpg", f"{split}/canoe/1.jpg")
    with pytest.raises(DataError, match=f"{split}: has classes that train does.*: canoe, galleon;"):
        scan_dataset(two_classes)


def test_scan_split__targets_are_indices_of_the_classes(two_classes: Path) -> None:
    images = scan_split(two_classes / "valid", ("b", "none", "a"))
    assert list_names(images.paths, two_classes / "valid") == ["b/1.jpg", "a/1.jpg"]
    assert images.targets.tolist() == [0, 2]


def test_scan_classes__sorted_class_folders(tmp_path: Path) -> None:
    make_files(tmp_path, "topa/2.jpg", "topa/1.PNG", "barca/notes.txt", ".git/3.jpg", "4.jpg")
    classes = scan_classes(tmp_path)
    assert {name: list_names(paths, tmp_path) for name, paths in classes.items()} == {
        "barca": [],
        "topa": ["topa/1.PNG", "topa/2.jpg"],
    }
    assert list(classes) == ["barca", "topa"]
    with pytest.raises(DataError, match="missing: cannot be read: No such file"):
        scan_classes(tmp_path / "missing")


def test_digest_images__independent_of_order() -> None:
    order = [2, 0, 3, 1]
    shuffled = digest_images([DIGESTS[index] for index in order], TARGETS[order], CLASSES)
    assert shuffled == digest_images(DIGESTS, TARGETS, CLASSES)


def test_digest_images__depends_on_contents_and_classes() -> None:
    other = hashlib.sha256(b"other").digest()
    digests = {
        digest_images(DIGESTS, TARGETS, CLASSES),
        digest_images(DIGESTS, TARGETS[[1, 0, 2, 3]], CLASSES),
        digest_images(DIGESTS, TARGETS, ("gòndola", "topa", "other")),
        digest_images(DIGESTS[1:], TARGETS[1:], CLASSES),
        digest_images([*DIGESTS, DIGESTS[0]], np.append(TARGETS, 0), CLASSES),
        digest_images([*DIGESTS[:3], other], TARGETS, CLASSES),
    }
    assert len(digests) == 6
