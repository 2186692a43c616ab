from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from boats_data.dataset import scan_dataset
from boats_data.image_sizes import sample_sizes
from boats_data.shape_leakage import find_shape_leaks
from support.checked_dataset import CheckedDataset, draw_blots


def find_quantities(sizes: NDArray[np.int64], targets: NDArray[np.int64]) -> list[str]:
    return [leak.quantity for leak in find_shape_leaks(sizes, targets)]


@pytest.mark.parametrize("noise", [0, 4])
def test_find_shape_leaks__one_shape_per_class(noise: int) -> None:
    targets = np.arange(60) % 3
    widths = np.array([60, 80, 120])[targets] + np.arange(60) % (noise + 1)
    sizes = np.stack([4800 // widths, widths], axis=1)
    assert find_quantities(sizes, targets) == ["aspect ratio"]


def test_find_shape_leaks__one_resolution_per_class() -> None:
    targets = np.arange(40) % 2
    sizes = np.stack([60 * (1 + targets), 80 * (1 + targets)], axis=1)
    (leak,) = find_shape_leaks(sizes, targets)
    assert (leak.quantity, leak.accuracy, leak.majority) == ("resolution", 1.0, 0.5)
    assert "predicts its class" in leak.message
    assert "100% of the training images, the most frequent class for 50%" in leak.message


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("classes", [2, 3, 20])
def test_find_shape_leaks__shapes_of_no_class(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, 200)
    assert find_quantities(rng.integers(30, 900, (200, 2)), targets) == []
    assert find_quantities(rng.integers(3, 9, (200, 2)) * 100, targets) == []


@pytest.mark.parametrize("counts", [(1, 1), (5, 5), (900, 10, 1)])
def test_find_shape_leaks__all_images_of_one_size(counts: tuple[int, ...]) -> None:
    targets = np.repeat(np.arange(len(counts)), counts)
    assert find_quantities(np.full((len(targets), 2), 240), targets) == []


def test_check_data__one_shape_per_class(dataset: CheckedDataset) -> None:
    for path in dataset.root.rglob("a/*.jpg"):
        dataset.add(path.relative_to(dataset.root).as_posix(), draw_blots(int(path.stem), (88, 88)))
    for number in range(20, 30):
        dataset.add(f"train/a/{number}.jpg", draw_blots(number, (88, 88)))
        dataset.add(f"train/b/{number}.jpg", draw_blots(number + 50))
    (finding,) = (item for item in dataset.find() if item.code == "shape-predicts-class")
    assert (finding.severity, finding.count) == ("warning", 30)
    assert finding.examples == ("a: median 1", "b: median 3.333")
    assert "stretch" not in finding.message


def test_find_shape_leaks__boats_dataset(boats_data: Path) -> None:
    train = scan_dataset(boats_data).splits["train"]
    sampled = sample_sizes(train.paths, boats_data)
    assert find_quantities(sampled.sizes, train.targets[sampled.indices]) == []
