import hashlib
from pathlib import Path

import numpy as np
import pytest

from boats_data.dataset import digest_images, scan_classes, scan_dataset, scan_split
from boats_runtime.errors import DataError
from boats_runtime.preprocessing import SUFFIXES

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


def names(paths: tuple[Path, ...], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_scan_dataset__classes_and_counts(dataset_folder: Path) -> None:
    dataset = scan_dataset(dataset_folder)
    assert dataset.root == dataset_folder
    assert dataset.classes == ("barca lunga", "gòndola", "topa")
    assert list(dataset.splits) == ["train", "valid", "test"]
    counts = {name: np.bincount(split.targets) for name, split in dataset.splits.items()}
    assert {name: count.tolist() for name, count in counts.items()} == {
        "train": [6, 4, 3],
        "valid": [3, 2, 2],
        "test": [2, 1, 1],
    }


def test_scan_dataset__each_target_is_its_folder(dataset_folder: Path) -> None:
    dataset = scan_dataset(dataset_folder)
    for split in dataset.splits.values():
        assert split.targets.dtype == np.int64
        folders = [path.parent.name for path in split.paths]
        assert folders == [dataset.classes[target] for target in split.targets]


def test_scan_dataset__class_by_class_and_sorted_by_name(two_classes: Path) -> None:
    make_files(two_classes, "train/b/0.png", "train/a/10.jpg", "train/a/02.jpg", "train/B/9.jpg")
    split = scan_dataset(two_classes).splits["train"]
    assert names(split.paths, two_classes / "train") == [
        "B/9.jpg", "a/02.jpg", "a/1.jpg", "a/10.jpg", "b/0.png", "b/1.jpg",
    ]  # fmt: skip
    assert split.targets.tolist() == [0, 1, 1, 1, 2, 2]


def test_scan_dataset__without_test(two_classes: Path) -> None:
    assert list(scan_dataset(two_classes).splits) == ["train", "valid"]


def test_scan_dataset__class_missing_from_another_split(two_classes: Path) -> None:
    make_files(two_classes, "train/c/1.jpg")
    (two_classes / "valid" / "c").mkdir()
    dataset = scan_dataset(two_classes)
    assert dataset.classes == ("a", "b", "c")
    assert dataset.splits["valid"].targets.tolist() == [0, 1]


def test_scan_dataset__hidden_files_and_other_files_passed_over(two_classes: Path) -> None:
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
    assert [split.paths for split in after.splits.values()] == [
        split.paths for split in before.splits.values()
    ]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES | {".JPG", ".Jpeg"}))
def test_scan_dataset__every_suffix_of_a_photo(two_classes: Path, suffix: str) -> None:
    make_files(two_classes, f"valid/b/2{suffix}")
    paths = scan_dataset(two_classes).splits["valid"].paths
    assert two_classes / "valid" / "b" / f"2{suffix}" in paths


def test_scan_dataset__class_folder_is_a_link(two_classes: Path, tmp_path: Path) -> None:
    (two_classes / "train" / "linked").symlink_to(two_classes / "train" / "a")
    assert scan_dataset(tmp_path).classes == ("a", "b", "linked")


def test_scan_dataset__folder_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder; give --data DIR .*--demo"):
        scan_dataset(tmp_path / "nowhere")


def test_scan_dataset__folder_is_a_file(two_classes: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        scan_dataset(two_classes / "train" / "a" / "1.jpg")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_scan_dataset__split_missing(two_classes: Path, split: str) -> None:
    (two_classes / split).rename(two_classes / "elsewhere")
    with pytest.raises(DataError, match=f"has no folder {split}/ with a folder of photos for each"):
        scan_dataset(two_classes)


def test_scan_dataset__no_class(tmp_path: Path) -> None:
    make_files(tmp_path, "train/1.jpg", "valid/1.jpg")
    with pytest.raises(DataError, match="train: no class folders; at least two classes"):
        scan_dataset(tmp_path)


def test_scan_dataset__one_class_only(tmp_path: Path) -> None:
    make_files(tmp_path, "train/gondola/1.jpg", "valid/gondola/1.jpg")
    with pytest.raises(DataError, match="train: only the class gondola; at least two classes"):
        scan_dataset(tmp_path)


@pytest.mark.parametrize("leftover", [None, "notes.txt", ".1.jpg"])
def test_scan_dataset__class_without_photos(two_classes: Path, leftover: str | None) -> None:
    empty = two_classes / "train" / "empty"
    empty.mkdir()
    if leftover:
        (empty / leftover).touch()
    with pytest.raises(DataError, match=r"train/empty: an empty class; add photos or remove"):
        scan_dataset(two_classes)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_scan_dataset__split_without_photos(two_classes: Path, split: str) -> None:
    make_files(two_classes, "test/a/1.jpg")
    for photo in (two_classes / split).glob("*/*.jpg"):
        photo.unlink()
    with pytest.raises(DataError, match=rf"{split}: no photos in it \(.*\.jpg, .*\.webp\)"):
        scan_dataset(two_classes)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_scan_dataset__class_that_train_lacks(two_classes: Path, split: str) -> None:
    make_files(two_classes, f"{split}/a/2.jpg", f"{split}/galleon/1.jpg", f"{split}/canoe/1.jpg")
    with pytest.raises(DataError, match=f"{split}: has classes that train lacks: canoe, galleon;"):
        scan_dataset(two_classes)


def test_scan_split__folder_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        scan_split(tmp_path / "nowhere", ("a", "b"))
    assert str(caught.value).startswith(f"{tmp_path / 'nowhere'}: no such folder")


def test_scan_split__targets_are_indices_into_the_classes_given(two_classes: Path) -> None:
    split = scan_split(two_classes / "valid", ("b", "none", "a"))
    assert names(split.paths, two_classes / "valid") == ["b/1.jpg", "a/1.jpg"]
    assert split.targets.tolist() == [0, 2]


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 0, 3, 2], [0, 2, 1, 3]])
def test_digest_photos__order_does_not_matter(order: list[int]) -> None:
    shuffled = digest_images([DIGESTS[index] for index in order], TARGETS[order], CLASSES)
    assert shuffled == digest_images(DIGESTS, TARGETS, CLASSES)


@pytest.mark.parametrize("photo", range(4))
def test_digest_photos__another_label(photo: int) -> None:
    targets = TARGETS.copy()
    targets[photo] = (targets[photo] + 1) % 3
    assert digest_images(DIGESTS, targets, CLASSES) != digest_images(DIGESTS, TARGETS, CLASSES)


def test_digest_photos__labels_exchanged() -> None:
    exchanged = digest_images(DIGESTS, TARGETS[[1, 0, 2, 3]], CLASSES)
    assert exchanged != digest_images(DIGESTS, TARGETS, CLASSES)


def test_digest_photos__another_class_name() -> None:
    renamed = digest_images(DIGESTS, TARGETS, ("gòndola", "topa", "other"))
    assert renamed != digest_images(DIGESTS, TARGETS, CLASSES)


@pytest.mark.parametrize("photo", range(4))
def test_digest_photos__another_photo(photo: int) -> None:
    digests = [*DIGESTS]
    digests[photo] = hashlib.sha256(b"another").digest()
    assert digest_images(digests, TARGETS, CLASSES) != digest_images(DIGESTS, TARGETS, CLASSES)


def test_digest_photos__one_photo_less_or_twice() -> None:
    whole = digest_images(DIGESTS, TARGETS, CLASSES)
    twice = digest_images([*DIGESTS, DIGESTS[0]], np.append(TARGETS, 0), CLASSES)
    assert len({whole, twice, digest_images(DIGESTS[1:], TARGETS[1:], CLASSES)}) == 3


def test_scan_classes__every_class_folder_by_name(tmp_path: Path) -> None:
    make_files(tmp_path, "topa/2.jpg", "topa/1.PNG", "barca/notes.txt", ".git/3.jpg", "4.jpg")
    found = scan_classes(tmp_path)
    assert list(found) == ["barca", "topa"]
    assert {name: names(paths, tmp_path) for name, paths in found.items()} == {
        "barca": [],
        "topa": ["topa/1.PNG", "topa/2.jpg"],
    }


def test_scan_classes__no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing: no such folder"):
        scan_classes(tmp_path / "missing")
