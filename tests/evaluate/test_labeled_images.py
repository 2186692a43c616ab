from pathlib import Path

import pytest

from boats_evaluate.labeled_images import LabeledImage, find_images
from boats_runtime.errors import BoatsError, DataError, UsageError

LABELS = ("gòndola", "topa")


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_find_images__sorted_and_with_unknown_classes(tmp_path: Path) -> None:
    make_files(tmp_path, "topa/2.jpg", "topa/1.png", "gòndola/9.jpg", "canoe/3.jpg", "topa/a.txt")
    images = find_images(tmp_path, LABELS)
    names = ["canoe/3.jpg", "gòndola/9.jpg", "topa/1.png", "topa/2.jpg"]
    assert [image.name for image in images] == names
    assert images[0] == LabeledImage(tmp_path / "canoe" / "3.jpg", "canoe")


def test_find_images__class_named_train(tmp_path: Path) -> None:
    make_files(tmp_path, "train/1.jpg", "boat/1.jpg")
    assert len(find_images(tmp_path, ("boat", "train"))) == 2


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ((), DataError, "has no class folders; expected .*/<class>"),
        (("1.jpg",), DataError, "has no class folders"),
        (("topa/notes.txt",), DataError, "has no images in its folders"),
        (
            ("canoe/1.jpg", "raft/1.jpg"),
            DataError,
            "the model's classes are gòndola, topa, the folder's are canoe, raft",
        ),
        (
            ("train/topa/1.jpg", "valid/topa/1.jpg"),
            UsageError,
            "a whole dataset; give one of its splits, .*folder/train or .*folder/valid",
        ),
    ],
)
def test_find_images__no_usable_images(
    tmp_path: Path, files: tuple[str, ...], error: type[BoatsError], message: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(error, match=message):
        find_images(make_files(folder, *files), LABELS)
