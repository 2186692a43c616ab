from pathlib import Path

import pytest

from boats_evaluate.labeled_images import Photo, find_images
from boats_runtime.errors import DataError, UsageError

LABELS = ("gòndola", "topa")


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_find_photos__class_by_class_the_unknown_ones_too(tmp_path: Path) -> None:
    make_files(tmp_path, "topa/2.jpg", "topa/1.png", "gòndola/9.jpg", "canoe/3.jpg", "topa/a.txt")
    photos = find_images(tmp_path, LABELS)
    assert [photo.name for photo in photos] == [
        "canoe/3.jpg", "gòndola/9.jpg", "topa/1.png", "topa/2.jpg",
    ]  # fmt: skip
    assert photos[0] == Photo(tmp_path / "canoe" / "3.jpg", "canoe")


def test_find_photos__whole_picture_set_names_the_folder_to_give(tmp_path: Path) -> None:
    make_files(tmp_path, "train/topa/1.jpg", "valid/topa/1.jpg")
    with pytest.raises(UsageError, match=f"name one of its splits, .*{tmp_path}/train or .*valid"):
        find_images(tmp_path, LABELS)


def test_find_photos__a_class_may_be_called_train(tmp_path: Path) -> None:
    make_files(tmp_path, "train/1.jpg", "boat/1.jpg")
    assert len(find_images(tmp_path, ("boat", "train"))) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no class folders in it; expected .*/<class>"),
        (("1.jpg",), "no class folders"),
        (("topa/notes.txt",), "no photos in its folders"),
        (("canoe/1.jpg", "raft/1.jpg"), "it knows gòndola, topa, the folder has canoe, raft"),
    ],
)
def test_find_photos__nothing_to_judge_on(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_images(make_files(tmp_path, *files), LABELS)


def test_find_photos__no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing: no such folder"):
        find_images(tmp_path / "missing", LABELS)
