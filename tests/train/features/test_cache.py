import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from boats_runtime.errors import OutputError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.cache import SHARD_SIZE, FeatureCache, network_key
from boats_train.models.feature_network import FeatureNetwork
from support.fill_feature_cache import make_digest, make_features
from support.process import clean_environment, module_command


def make_network(seed: int, width: int = 3) -> FeatureNetwork:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(3, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return FeatureNetwork(backbone, Preprocessing(32, 32))


def fill_cache(folder: Path, count: int = 1) -> FeatureCache:
    cache = FeatureCache(folder, "key")
    for number in range(count):
        cache.put(make_digest(number), make_features(number))
    return cache


def read_numbers(folder: Path, count: int) -> list[int]:
    """Return the numbers whose features are on disk."""
    cache = FeatureCache(folder, "key")
    found = [(number, cache.get(make_digest(number))) for number in range(count)]
    for number, features in found:
        if features is not None:
            np.testing.assert_array_equal(features, make_features(number))
    return [number for number, features in found if features is not None]


def test_feature_cache__finds_written_features(tmp_path: Path) -> None:
    fill_cache(tmp_path).flush()
    assert read_numbers(tmp_path, 2) == [0]
    assert FeatureCache(tmp_path, "other").get(make_digest(0)) is None


def test_feature_cache__writes_full_shards_without_flush(tmp_path: Path) -> None:
    fill_cache(tmp_path, SHARD_SIZE + 5)
    assert read_numbers(tmp_path, SHARD_SIZE + 5) == list(range(SHARD_SIZE))


def test_feature_cache__damaged_shard_is_removed(tmp_path: Path) -> None:
    fill_cache(tmp_path).flush()
    (shard,) = (tmp_path / "key").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-3])
    assert read_numbers(tmp_path, 1) == []
    assert not shard.exists()


def test_feature_cache__two_processes_write(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            module_command("support.fill_feature_cache", tmp_path, start, 150),
            env=clean_environment(),
        )
        for start in (0, 100)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert read_numbers(tmp_path, 250) == list(range(250))


def test_feature_cache__folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"features cannot be cached: .*--cache none"):
        fill_cache(tmp_path / "file").flush()


def test_network_key__depends_on_everything_that_determines_features() -> None:
    size = Preprocessing(32, 32)
    key = network_key(make_network(0), size, "float32")
    assert network_key(make_network(0), size, "float32") == key
    others = {
        network_key(make_network(1), size, "float32"),
        network_key(make_network(0, width=4), size, "float32"),
        network_key(make_network(0), Preprocessing(32, 64), "float32"),
        network_key(make_network(0), size, "bfloat16"),
        network_key(make_network(0), replace(size, version=1), "float32"),
    }
    assert len(others | {key}) == 6
