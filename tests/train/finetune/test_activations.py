from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from boats_runtime.errors import OutputError
from boats_runtime.preprocessing import Preprocessing
from boats_train.finetune import activations
from boats_train.finetune.activations import ActivationCache, CacheLayout, compute_budget
from boats_train.finetune.network_split import NetworkSplit, normalize, split_network
from boats_train.finetune.trainer import FineTuningData
from boats_train.models.feature_network import FeatureNetwork
from support.fine_tuning import PREPROCESSING, make_network

DecodedImage = tuple[int, NDArray[np.uint8]]


@pytest.fixture
def network() -> FeatureNetwork:
    return make_network()


@pytest.fixture
def split(network: FeatureNetwork) -> NetworkSplit:
    return split_network(network, 1, PREPROCESSING.height, PREPROCESSING.width)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "SHARD_SIZE", 4)


def make_cache(folder: Path, paths: tuple[Path, ...], split: NetworkSplit) -> ActivationCache:
    return ActivationCache(folder, CacheLayout(len(paths), 2, split.shape))


def test_fill__images_and_mirror_images(
    network: FeatureNetwork, split: NetworkSplit, data: FineTuningData, tmp_path: Path
) -> None:
    paths = data.train.paths
    cache = make_cache(tmp_path, paths, split)
    assert cache.fill(network, split, PREPROCESSING, paths).all()
    assert len(list(tmp_path.iterdir())) == 4  # 13 images
    pixels = PREPROCESSING.read(paths[5])
    images = np.stack([pixels, pixels[:, ::-1]])
    with torch.inference_mode():
        expected = split.prefix(normalize(network, torch.from_numpy(images)))
    values = cache.take([5, 5], [False, True])
    torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-3)  # stored as float16


def test_fill__continues_after_an_interruption(
    network: FeatureNetwork,
    split: NetworkSplit,
    data: FineTuningData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths = data.train.paths
    make_cache(tmp_path, paths, split).fill(network, split, PREPROCESSING, paths)
    shards = sorted(tmp_path.iterdir())
    shards[1].unlink()
    shards[2].write_bytes(b"damaged")
    shards[3].write_bytes(shards[0].read_bytes())  # with more images
    decoded: list[Path] = []
    decode_images = activations.decode_images

    def record(preprocessing: Preprocessing, batch: Sequence[Path]) -> Iterator[DecodedImage]:
        decoded.extend(batch)
        return decode_images(preprocessing, batch)

    monkeypatch.setattr(activations, "decode_images", record)
    cache = make_cache(tmp_path, paths, split)
    cache.fill(network, split, PREPROCESSING, paths)
    assert decoded == list(paths[4:])
    assert torch.isfinite(cache.take(range(13), [False] * 13)).all()


def test_fill__images_that_cannot_be_decoded_have_no_index(
    network: FeatureNetwork, split: NetworkSplit, data: FineTuningData, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    paths = (data.train.paths[0], broken, data.train.paths[1])
    for _ in range(2):  # computed, then read
        cache = make_cache(tmp_path / "cache", paths, split)
        readable = cache.fill(network, split, PREPROCESSING, paths)
        assert readable.tolist() == [True, False, True]
    whole = make_cache(tmp_path / "whole", data.train.paths[:2], split)
    whole.fill(network, split, PREPROCESSING, data.train.paths[:2])
    torch.testing.assert_close(cache.take([1], [True]), whole.take([1], [True]))


def test_fill__folder_cannot_be_written(
    network: FeatureNetwork, split: NetworkSplit, data: FineTuningData, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    cache = make_cache(tmp_path / "file" / "cache", data.train.paths, split)
    with pytest.raises(OutputError, match=r"activations cannot be stored: .*--unfreeze 0"):
        cache.fill(network, split, PREPROCESSING, data.train.paths)


def test_compute_budget__is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "RESERVE", 0)
    assert 0 < compute_budget(tmp_path / "missing" / "folder") <= activations.BUDGET
    monkeypatch.setattr(activations, "RESERVE", 2**60)
    assert compute_budget(tmp_path) < 0


def test_cache_layout__size() -> None:
    layout = CacheLayout(1000, 2, (64, 10, 33))
    assert layout.size == 1000 * 2 * 64 * 10 * 33 * 2
    assert layout.describe() == ("64x10x33 activations of each image and its mirror image, 0.08 GB")
