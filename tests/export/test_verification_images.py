import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boats_export.verification_images import HARD, load_verification_images
from boats_runtime.errors import DataError
from boats_train.runs.run import Run


def test_open_photos__of_the_set_trained_on(loaded_run: Run, dataset_folder: Path) -> None:
    photos = load_verification_images(loaded_run, None, "valid")
    assert photos.paths == tuple(sorted((dataset_folder / "valid").glob("*/*.jpg")))
    assert photos.targets.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert photos.digest == loaded_run.metrics["data"]["valid"]
    assert (
        load_verification_images(loaded_run, None, "train").digest
        == loaded_run.metrics["data"]["train"]
    )


def test_open_photos__moved_and_renamed(loaded_run: Run, dataset_folder: Path, tmp_path: Path) -> None:
    for path in sorted((dataset_folder / "valid").glob("*/*.jpg")):
        target = tmp_path / "valid" / path.parent.name / f"z{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    photos = load_verification_images(loaded_run, tmp_path, "valid")
    assert photos.digest == loaded_run.metrics["data"]["valid"]


def test_open_photos__corrupt_ones_are_passed_over(
    loaded_run: Run, dataset_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset_folder / "valid", tmp_path / "valid")
    (tmp_path / "valid" / "topa" / "00.jpg").write_bytes(b"no photo")
    photos = load_verification_images(loaded_run, tmp_path, "valid")
    assert photos.targets.tolist() == [0, 0, 0, 1, 1, 2]
    assert len(list(photos)) == len(photos) == 6


@pytest.mark.parametrize("there", [None, "valid/topa", "valid/topa/photo.txt", "valid/vaporetto"])
def test_open_photos__none(loaded_run: Run, tmp_path: Path, there: str | None) -> None:
    if there:
        (tmp_path / there).mkdir(parents=True)
    with pytest.raises(DataError, match="valid: "):
        load_verification_images(loaded_run, tmp_path, "valid")


def test_open_photos__none_can_be_read(loaded_run: Run, tmp_path: Path) -> None:
    (tmp_path / "valid" / "topa").mkdir(parents=True)
    (tmp_path / "valid" / "topa" / "1.jpg").write_bytes(b"no photo")
    with pytest.raises(DataError, match="valid: none of its 1 photos can be read"):
        load_verification_images(loaded_run, tmp_path, "valid")


def test_open_photos__data_has_moved(loaded_run: Run, tmp_path: Path) -> None:
    moved = replace(loaded_run, config=replace(loaded_run.config, data=str(tmp_path / "gone")))
    with pytest.raises(DataError, match=r"gone/valid: no photos to prove .*give --data DIR"):
        load_verification_images(moved, None, "valid")


def test_with_hard__black_white_noise_and_one_pixel(loaded_run: Run) -> None:
    photos = load_verification_images(loaded_run, None, "valid")
    pixels = list(photos.with_hard())
    assert len(pixels) == len(photos) + len(HARD)
    black, white, noise, changed = pixels[-4:]
    assert (black.max(), white.min()) == (0, 255)
    assert noise.std() > 70
    assert np.argwhere((changed != pixels[0]).any(axis=2)).tolist() == [[32, 80]]
