from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boats_data.dataset import scan_dataset
from boats_data.image_sizes import (
    MAX_AREA,
    MAX_SAMPLE,
    MIN_SIDE,
    ROUNDING,
    STEP,
    Size,
    choose_size,
    describe_choice,
    sample_sizes,
)
from boats_runtime.errors import DataError


@pytest.mark.parametrize(
    ("median", "chosen"),
    [
        ((240, 800), (160, 544)),
        ((100, 100), (96, 96)),
        ((224, 224), (224, 224)),
        ((3000, 4000), (288, 384)),
        ((4000, 3000), (384, 288)),
        ((1080, 1920), (224, 416)),
        ((32, 32), (64, 64)),
        ((20, 60), (64, 192)),
        ((100, 5000), (64, 2016)),
        ((5000, 100), (2016, 64)),
    ],
    ids=[
        "Venice", "square", "ImageNet", "camera", "portrait", "video", "CIFAR", "tiny", "panorama",
        "tall panorama",
    ],
)  # fmt: skip
def test_choose_size__by_kind_of_image(median: Size, chosen: Size) -> None:
    assert choose_size(median) == chosen


@pytest.mark.parametrize("seed", range(20))
def test_choose_size__multiples_of_32_within_the_limits(seed: int) -> None:
    height, width = np.exp(np.random.default_rng(seed).uniform(0, 10, 2)).astype(int).tolist()
    size = choose_size((height, width))
    assert size == choose_size((width, height))[::-1]
    assert min(size) >= MIN_SIDE
    assert size[0] % STEP == size[1] % STEP == 0
    assert size[0] * size[1] <= MAX_AREA * ROUNDING


def save_images(folder: Path, sizes: list[Size]) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(sizes))]
    for path, (height, width) in zip(paths, sizes, strict=True):
        Image.new("RGB", (width, height)).save(path)
    return paths


def test_sample_sizes__median_of_mixed_images(tmp_path: Path) -> None:
    paths = save_images(tmp_path, [(90, 30), (60, 60), (100, 100), (50, 500), (80, 90)])
    sampled = sample_sizes(paths, tmp_path)
    assert sampled.median == (85, 85)  # aspect ratio of 100x100, area of 80x90
    assert choose_size(sampled.median) == (96, 96)


def test_sample_sizes__unreadable_images_are_left_out(tmp_path: Path) -> None:
    paths = save_images(tmp_path, [(10, 20), (30, 40)])
    paths.insert(1, tmp_path / "broken.jpg")
    paths[1].write_bytes(b"text")
    sampled = sample_sizes(paths, tmp_path)
    assert sampled.sizes.tolist() == [[10, 20], [30, 40]]
    assert sampled.indices.tolist() == [0, 2]


def test_sample_sizes__evenly_spaced(tmp_path: Path) -> None:
    paths = save_images(tmp_path, [(10, 20)]) * 1000
    sampled = sample_sizes(paths, tmp_path)
    assert len(sampled.indices) == MAX_SAMPLE
    assert (sampled.indices[0], sampled.indices[-1]) == (0, 999)
    assert set(np.diff(sampled.indices).tolist()) <= {3, 4}


def test_sample_sizes__all_are_tried_if_none_of_the_sample_can_be_read(tmp_path: Path) -> None:
    paths = [tmp_path / "missing.jpg"] * 1000
    (paths[1],) = save_images(tmp_path, [(10, 20)])
    assert sample_sizes(paths, tmp_path).indices.tolist() == [1]


def test_sample_sizes__no_image_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train: none of the 2 images can be read"):
        sample_sizes([tmp_path / "missing.jpg"] * 2, tmp_path / "train")


def test_describe_choice__names_the_median(tmp_path: Path) -> None:
    sampled = sample_sizes(save_images(tmp_path, [(240, 800)] * 3), tmp_path)
    line = describe_choice((160, 544), sampled)
    assert line == (
        "image size 160x544: median of 3 images is 240x800; 45% of its pixels, aspect ratio within "
        "2% (HEIGHTxWIDTH)"
    )


def test_sample_sizes__boats_dataset(boats_data: Path) -> None:
    train = scan_dataset(boats_data).splits["train"]
    assert choose_size(sample_sizes(train.paths, boats_data).median) == (160, 544)
