import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from boats_runtime.preprocessing import Preprocessing, decode
from boats_train.features.cache import FeatureCache
from boats_train.features.extraction import Features, decode_images, extract_features
from boats_train.features.inference import InferenceBackend, float32_backend
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork

SIZE = Preprocessing(64, 160)
TOLERANCE = 1e-4  # of the largest feature: another order of sums, and BatchNorm folded

Corrupt = Callable[..., list[Path]]


@pytest.fixture(scope="module")
def network() -> FeatureNetwork:
    torch.manual_seed(0)
    return FeatureNetwork(build_backbone("mobilenet_v3_small"), SIZE)


@pytest.fixture(scope="module")
def one(network: FeatureNetwork) -> InferenceBackend:
    """Runs the network as training does on a CPU."""
    return float32_backend(network)


@pytest.fixture(params=[1, 4, 100])
def engine(one: InferenceBackend, request: pytest.FixtureRequest) -> InferenceBackend:
    """Photos at once: the CPU's one, and batches as on CUDA, some of them not full."""
    return replace(one, batch=request.param)


@pytest.fixture(scope="module")
def paths(dataset_folder: Path) -> list[Path]:
    """All photos, the classes mixed."""
    found = sorted(dataset_folder.glob("*/*/*.jpg"))
    return [found[index] for index in np.random.default_rng(0).permutation(len(found))]


@pytest.fixture
def corrupt(paths: list[Path], tmp_path: Path) -> Corrupt:
    """Replaces the photos at some places by truncated copies."""

    def replace_by_broken(*indices: int) -> list[Path]:
        damaged = list(paths)
        for index in indices:
            damaged[index] = tmp_path / f"broken-{index}.jpg"
            damaged[index].write_bytes(paths[index].read_bytes()[:400])
        return damaged

    return replace_by_broken


@pytest.fixture(scope="module")
def expected(network: FeatureNetwork, paths: list[Path]) -> np.ndarray:
    """The features of each photo by itself, without threads and batches."""
    pixels = [np.stack([SIZE.apply(decode(path))]) for path in paths]
    with torch.inference_mode():
        return torch.cat([network(torch.from_numpy(photo)) for photo in pixels]).numpy()


def extract(
    engine: InferenceBackend, paths: list[Path], cache: FeatureCache | None = None
) -> Features:
    return extract_features(engine, SIZE, paths, cache or FeatureCache(None, ""), "train")


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_extract_features__equal_to_one_by_one_and_in_order(
    engine: InferenceBackend, paths: list[Path], expected: np.ndarray
) -> None:
    extracted = extract(engine, paths)
    assert extracted.values.dtype == np.float32
    assert extracted.values.shape == (len(paths), 576)
    assert_same(extracted.values, expected)
    assert extracted.kept.tolist() == list(range(len(paths)))
    assert extracted.skipped == ()
    assert extracted.remembered == 0
    # Photos differ by more than the tolerance: another order would have been seen.
    nearest = min(np.abs(a - b).max() for a, b in pairwise(expected))
    assert nearest > 10 * TOLERANCE * np.abs(expected).max()


def test_extract_features__corrupt_photos_are_skipped(
    engine: InferenceBackend, paths: list[Path], expected: np.ndarray, corrupt: Corrupt
) -> None:
    last = len(paths) - 1
    broken = [0, 5, 6, 7, 8, last]
    damaged = corrupt(*broken)
    extracted = extract(engine, damaged)
    assert [path for path, _ in extracted.skipped] == [damaged[index] for index in broken]
    assert all("can't be read" in reason for _, reason in extracted.skipped)
    assert extracted.kept.tolist() == [n for n in range(len(paths)) if n not in broken]
    assert_same(extracted.values, expected[extracted.kept])


def test_extract_features__every_photo_corrupt(
    engine: InferenceBackend, paths: list[Path], corrupt: Corrupt
) -> None:
    damaged = corrupt(*range(len(paths)))
    extracted = extract(engine, damaged)
    assert len(extracted.values) == 0
    assert extracted.kept.tolist() == []
    assert [path for path, _ in extracted.skipped] == damaged


def test_extract_features__photo_vanished(one: InferenceBackend, paths: list[Path]) -> None:
    gone = paths[0].with_name("gone.jpg")
    extracted = extract(one, [paths[1], gone])
    assert extracted.skipped == ((gone, "can't be read: No such file or directory"),)
    assert extracted.kept.tolist() == [0]


def test_extract_features__same_photo_twice(
    engine: InferenceBackend, paths: list[Path], expected: np.ndarray, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.jpg"
    twin.write_bytes(paths[1].read_bytes())
    extracted = extract(engine, [paths[1], twin, paths[0]])
    assert_same(extracted.values, expected[[1, 1, 0]])


def test_extract_features__no_photos(one: InferenceBackend) -> None:
    extracted = extract(one, [])
    assert len(extracted.values) == len(extracted.kept) == len(extracted.skipped) == 0


def test_extract_features__no_bar_without_a_terminal(
    one: InferenceBackend, paths: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extract(one, paths[:2])
    assert capsys.readouterr() == ("", "")


KILLED = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np, torch
from test_features import SIZE, extract
from boats_train.features import cache as feature_cache
from boats_train.features.inference import InferenceBackend

torch.set_num_threads(1)
feature_cache.SHARD = 4
folder, done = Path(sys.argv[2]), Path(sys.argv[3])
paths = sorted(folder.glob("*.jpg"))

def run(pixels):
    time.sleep(0.03)
    return pixels.reshape(len(pixels), -1)[:, ::997].astype(np.float32)

def train():
    cache = feature_cache.FeatureCache(folder / "cache", "key")
    found = extract(InferenceBackend("float32", "", 1, run), paths, cache)
    print(found.remembered, flush=True)
    np.save(done, found.values)

delays, kills = random.Random(3), 0
while not done.exists():
    shards = len(list((folder / "cache").glob("*/*.safetensors")))
    child = os.fork()  # with everything imported: a new interpreter would take seconds
    if child == 0:
        train()
        os._exit(0)
    if kills < 10:
        time.sleep(delays.uniform(0.1, 0.4))
        os.kill(child, signal.SIGKILL)
        kills += 1
    os.waitpid(child, 0)
print(4 * shards, kills)
"""


def test_extract_features__killed_ten_times_loses_no_shard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(80):
        noise = rng.integers(0, 256, (64, 160, 3), dtype=np.uint8)
        Image.fromarray(noise).save(photos / f"{number:02}.jpg")
    done = tmp_path / "features.npy"
    driver = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(photos), str(done)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    remembered, written, kills = map(int, driver.stdout.split())
    assert kills >= 5
    assert remembered == written > 0
    pixels = [SIZE.apply(decode(path)) for path in sorted(photos.glob("*.jpg"))]
    expected = np.stack([photo.reshape(-1)[::997].astype(np.float32) for photo in pixels])
    assert np.array_equal(np.load(done), expected)


def test_decode_photos__pixels_of_the_good_ones(paths: list[Path], corrupt: Corrupt) -> None:
    decoded = dict(decode_images(SIZE, corrupt(0, 3)))
    assert list(decoded) == [n for n in range(len(paths)) if n not in (0, 3)]
    for index, pixels in decoded.items():
        np.testing.assert_array_equal(pixels, SIZE.apply(decode(paths[index])))
