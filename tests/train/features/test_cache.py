import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from boats_runtime.errors import OutputError
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.cache import SHARD, FeatureCache, network_key
from boats_train.models.feature_network import FeatureNetwork


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def network(seed: int, width: int = 3) -> FeatureNetwork:
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(3, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return FeatureNetwork(backbone, Preprocessing(32, 32))


def test_feature_cache__finds_what_was_put(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key")
    cache.put(digest(1), np.arange(4, dtype=np.float32))
    cache.flush()
    again = FeatureCache(tmp_path, "key")
    found = again.get(digest(1))
    assert found is not None
    assert found.tolist() == [0, 1, 2, 3]
    assert again.get(digest(2)) is None
    assert FeatureCache(tmp_path, "other").get(digest(1)) is None


def test_feature_cache__loses_at_most_a_shard_without_flush(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key")
    for number in range(SHARD + 5):
        cache.put(digest(number), np.full(2, number, np.float32))
    again = FeatureCache(tmp_path, "key")
    assert [again.get(digest(number)) is not None for number in (0, SHARD - 1, SHARD)] == [
        True,
        True,
        False,
    ]


def test_feature_cache__a_damaged_shard_is_removed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "key")
    cache.put(digest(1), np.zeros(2, np.float32))
    cache.flush()
    (shard,) = (tmp_path / "key").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-3])
    assert FeatureCache(tmp_path, "key").get(digest(1)) is None
    assert not shard.exists()


def test_feature_cache__half_written_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / ".0123").write_bytes(b"half")
    assert FeatureCache(tmp_path, "key").get(digest(1)) is None


def test_feature_cache__two_processes_write_at_once(tmp_path: Path) -> None:
    code = """
import hashlib, sys, numpy as np
from pathlib import Path
from boats_train.features.cache import FeatureCache
cache = FeatureCache(Path(sys.argv[1]), "key")
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 150):
    cache.put(hashlib.sha256(str(number).encode()).digest(), np.full(3, number, np.float32))
cache.flush()
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), start])
        for start in ("0", "100")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    cache = FeatureCache(tmp_path, "key")
    for number in range(250):
        found = cache.get(digest(number))
        assert found is not None
        assert found.tolist() == [number] * 3


def test_feature_cache__a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file", "key")
    cache.put(digest(1), np.zeros(2, np.float32))
    with pytest.raises(OutputError, match="--cache none"):
        cache.flush()


def test_feature_cache__none_keeps_features_in_memory_only(tmp_path: Path) -> None:
    cache = FeatureCache(None, "key")
    cache.put(digest(1), np.ones(2, np.float32))
    cache.flush()
    assert cache.get(digest(1)) is not None
    assert list(tmp_path.iterdir()) == []


def test_network_key__changes_with_all_that_decides_features() -> None:
    size = Preprocessing(32, 32)
    base = network_key(network(0), size, "float32")
    assert network_key(network(0), size, "float32") == base
    assert network_key(network(1), size, "float32") != base
    assert network_key(network(0, width=4), size, "float32") != base
    assert network_key(network(0), Preprocessing(32, 64), "float32") != base
    assert network_key(network(0), size, "bfloat16") != base
