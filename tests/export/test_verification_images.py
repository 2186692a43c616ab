import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boats_export.verification_images import STRESS_INPUTS, load_verification_images
from boats_runtime.errors import DataError
from boats_train.runs.run import Run


def test_load_verification_images__dataset_of_the_run(
    loaded_run: Run, dataset_folder: Path
) -> None:
    valid, train = (
        load_verification_images(loaded_run, None, split) for split in ("valid", "train")
    )
    assert valid.images.paths == tuple(sorted((dataset_folder / "valid").glob("*/*.jpg")))
    assert valid.images.targets.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert valid.digest == loaded_run.metrics["data"]["valid"]
    assert train.digest == loaded_run.metrics["data"]["train"]


def test_load_verification_images__digest_ignores_file_names(
    loaded_run: Run, dataset_folder: Path, tmp_path: Path
) -> None:
    for path in sorted((dataset_folder / "valid").glob("*/*.jpg")):
        target = tmp_path / "valid" / path.parent.name / f"z{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    images = load_verification_images(loaded_run, tmp_path, "valid")
    assert images.digest == loaded_run.metrics["data"]["valid"]


def test_load_verification_images__skips_corrupt_files(
    loaded_run: Run, dataset_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset_folder / "valid", tmp_path / "valid")
    (tmp_path / "valid" / "topa" / "00.jpg").write_bytes(b"no image")
    images = load_verification_images(loaded_run, tmp_path, "valid")
    assert images.images.targets.tolist() == [0, 0, 0, 1, 1, 2]
    assert len(list(images)) == len(images) == 6


@pytest.mark.parametrize(
    "folder", ["train", "valid/topa", "valid/topa/image.txt", "valid/vaporetto"]
)
def test_load_verification_images__no_images(loaded_run: Run, tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match="valid: "):
        load_verification_images(loaded_run, tmp_path, "valid")


def test_load_verification_images__no_readable_image(loaded_run: Run, tmp_path: Path) -> None:
    (tmp_path / "valid" / "topa").mkdir(parents=True)
    (tmp_path / "valid" / "topa" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="valid: none of its 1 images can be read"):
        load_verification_images(loaded_run, tmp_path, "valid")


def test_load_verification_images__dataset_was_moved(loaded_run: Run, tmp_path: Path) -> None:
    moved = replace(loaded_run, config=replace(loaded_run.config, data=str(tmp_path / "gone")))
    with pytest.raises(DataError, match=r"gone/valid: no images to verify .*give --data DIR"):
        load_verification_images(moved, None, "valid")


def test_with_stress_inputs__follow_the_images(loaded_run: Run) -> None:
    images = load_verification_images(loaded_run, None, "valid")
    pixels = list(images.with_stress_inputs("test"))
    assert len(pixels) == len(images) + len(STRESS_INPUTS)
    black, white, noise, changed = pixels[-4:]
    assert (black.max(), white.min()) == (0, 255)
    assert noise.std() > 70
    assert np.argwhere((changed != pixels[0]).any(axis=2)).tolist() == [[32, 80]]
