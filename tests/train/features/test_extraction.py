import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from boats_runtime.decoding import decode
from boats_train.features.cache import FeatureCache
from boats_train.features.extraction import ExtractedFeatures, decode_images, extract_features
from boats_train.features.inference import InferenceBackend, float32_backend
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from support.kill_extraction import KILLS, SHARD_SIZE, SIZE, compute_features
from support.process import run_module
from support.special_files import make_special_files

TOLERANCE = 1e-4  # relative to the largest feature: fused BatchNorm and another summation order

Corrupt = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def network() -> FeatureNetwork:
    torch.manual_seed(0)
    return FeatureNetwork(build_backbone("mobilenet_v3_small"), SIZE)


@pytest.fixture(scope="module")
def cpu_backend(network: FeatureNetwork) -> InferenceBackend:
    return float32_backend(network)


@pytest.fixture(params=[1, 4, 100])
def backend(cpu_backend: InferenceBackend, request: pytest.FixtureRequest) -> InferenceBackend:
    """Backends with several batch sizes; the last batch is not always full."""
    return replace(cpu_backend, batch_size=request.param)


@pytest.fixture(scope="module")
def paths(dataset_folder: Path) -> list[Path]:
    """All images in random order."""
    images = sorted(dataset_folder.glob("*/*/*.jpg"))
    return [images[index] for index in np.random.default_rng(0).permutation(len(images))]


@pytest.fixture
def corrupt(paths: list[Path], tmp_path: Path) -> Corrupt:
    """Replace the images at some indices by truncated copies."""

    def truncate(*indices: int) -> list[Path]:
        damaged = list(paths)
        for index in indices:
            damaged[index] = tmp_path / f"truncated-{index}.jpg"
            damaged[index].write_bytes(paths[index].read_bytes()[:400])
        return damaged

    return truncate


@pytest.fixture(scope="module")
def expected(network: FeatureNetwork, paths: list[Path]) -> np.ndarray:
    """Features of each image, computed one by one."""
    images = [np.stack([SIZE.apply(decode(path))]) for path in paths]
    with torch.inference_mode():
        return torch.cat([network(torch.from_numpy(image)) for image in images]).numpy()


def extract(backend: InferenceBackend, paths: list[Path]) -> ExtractedFeatures:
    return extract_features(backend, SIZE, paths, FeatureCache(None, ""), "train")


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_extract_features__same_as_one_by_one(
    backend: InferenceBackend,
    paths: list[Path],
    expected: np.ndarray,
    capsys: pytest.CaptureFixture[str],
) -> None:
    features = extract(backend, paths)
    assert features.values.dtype == np.float32
    assert_same(features.values, expected)
    assert features.indices.tolist() == list(range(len(paths)))
    assert (features.skipped, features.cached) == ((), 0)
    # The images differ by more than the tolerance, so another order would fail.
    nearest = min(np.abs(a - b).max() for a, b in pairwise(expected))
    assert nearest > 10 * TOLERANCE * np.abs(expected).max()
    assert capsys.readouterr() == ("", "")


def test_extract_features__corrupt_images_are_skipped(
    backend: InferenceBackend, paths: list[Path], expected: np.ndarray, corrupt: Corrupt
) -> None:
    indices = [0, 5, 6, 7, 8, len(paths) - 1]
    damaged = corrupt(*indices)
    features = extract(backend, damaged)
    assert [path for path, _ in features.skipped] == [damaged[index] for index in indices]
    assert features.indices.tolist() == [n for n in range(len(paths)) if n not in indices]
    assert_same(features.values, expected[features.indices])


@pytest.mark.parametrize("count", [0, 2])
def test_extract_features__no_readable_images(
    count: int, cpu_backend: InferenceBackend, corrupt: Corrupt
) -> None:
    damaged = corrupt(*range(count))[:count]
    features = extract(cpu_backend, damaged)
    assert len(features.values) == len(features.indices) == 0
    assert [path for path, _ in features.skipped] == damaged


def test_extract_features__file_does_not_exist(
    cpu_backend: InferenceBackend, paths: list[Path]
) -> None:
    missing = paths[0].with_name("missing.jpg")
    features = extract(cpu_backend, [paths[1], missing])
    assert features.skipped == ((missing, "cannot be read: No such file or directory"),)
    assert features.indices.tolist() == [0]


def test_extract_features__special_files_are_skipped(
    cpu_backend: InferenceBackend, paths: list[Path], tmp_path: Path
) -> None:
    special = [tmp_path / name for name in make_special_files(tmp_path)]
    features = extract(cpu_backend, [*special, paths[0]])
    reason = "cannot be read: not a regular file"
    assert features.skipped == tuple((path, reason) for path in special)
    assert features.indices.tolist() == [len(special)]


def test_extract_features__same_image_twice(
    backend: InferenceBackend, paths: list[Path], expected: np.ndarray, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(paths[1].read_bytes())
    features = extract(backend, [paths[1], copy, paths[0]])
    assert_same(features.values, expected[[1, 1, 0]])


def test_extract_features__killed_processes_lose_no_shard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(20):
        noise = rng.integers(0, 256, (64, 160, 3), dtype=np.uint8)
        Image.fromarray(noise).save(images / f"{number:02}.jpg")
    output = run_module("support.kill_extraction", images, tmp_path, check=True).stdout
    assert json.loads(output) == {"codes": [-9] * len(KILLS) + [0], "cached": 2 * SHARD_SIZE}
    pixels = np.stack([SIZE.apply(decode(path)) for path in sorted(images.glob("*.jpg"))])
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), compute_features(pixels))


def test_decode_images__skips_corrupt_images(paths: list[Path], corrupt: Corrupt) -> None:
    decoded = dict(decode_images(SIZE, corrupt(0, 3)))
    assert list(decoded) == [n for n in range(len(paths)) if n not in (0, 3)]
    for index, pixels in decoded.items():
        np.testing.assert_array_equal(pixels, SIZE.apply(decode(paths[index])))


class ForgetfulCache(FeatureCache):
    """A cache that drops the features of the second image."""

    puts = 0

    def put(self, digest: bytes, features: np.ndarray) -> None:
        self.puts += 1
        if self.puts != 2:
            super().put(digest, features)


def test_extract_features__missing_features_do_not_shift_the_others(
    cpu_backend: InferenceBackend, paths: list[Path]
) -> None:
    with pytest.raises(AssertionError, match="the cache has no features of an image"):
        extract_features(cpu_backend, SIZE, paths[:3], ForgetfulCache(None, ""), "train")
