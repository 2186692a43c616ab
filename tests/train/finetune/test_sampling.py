from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from boats_data.dataset import LabeledImages
from boats_runtime.errors import DataError
from boats_train.finetune import sampling
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.sampling import EpochSampler, ImageLoader, Key, keep_readable
from boats_train.finetune.trainer import FineTuningData

TARGETS = np.repeat(np.arange(3), (100, 25, 4))


@pytest.fixture
def broken(tmp_path: Path, image_path: Path) -> Path:
    path = tmp_path / "broken.jpg"
    path.write_bytes(image_path.read_bytes()[:300])
    return path


def sample(
    epoch: int = 1, count: int = 1700, seed: int = 0, rank: int = 0, world_size: int = 1
) -> list[Key]:
    sampler = EpochSampler(TARGETS, count, seed, DistributedContext(rank, world_size))
    sampler.epoch = epoch
    return list(sampler)


def test_epoch_sampler__depends_on_seed_and_epoch() -> None:
    keys = sample()
    assert sample() == keys
    assert sample(epoch=2) != keys
    assert sample(seed=1) != keys


def test_epoch_sampler__draws_classes_by_the_square_root_of_their_size() -> None:
    counts = np.bincount([TARGETS[index] for index, _ in sample(count=17000)])
    assert counts.tolist() == pytest.approx([10000, 5000, 2000], rel=0.05)


def test_epoch_sampler__augments_every_image_differently() -> None:
    seeds = Counter(seed for epoch in (1, 2) for _, seed in sample(epoch))
    assert max(seeds.values()) == 1


def test_epoch_sampler__ranks_share_the_order_of_a_single_process() -> None:
    shares = [sample(count=12, rank=rank, world_size=3) for rank in range(3)]
    assert [key for keys in zip(*shares, strict=True) for key in keys] == sample(count=12)


def test_keep_readable__drops_images_that_cannot_be_decoded(
    data: FineTuningData, broken: Path
) -> None:
    first, second = data.train.paths[:2]
    paths = (first, broken, second, broken.with_name("missing.jpg"))
    images = keep_readable(
        LabeledImages(paths, np.arange(4)), data.preprocessing, DistributedContext()
    )
    assert images.paths == (first, second)
    assert images.targets.tolist() == [0, 2]


def test_keep_readable__decodes_the_share_of_the_rank(
    data: FineTuningData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DistributedContext, "all_reduce_sum", lambda _, values: values)
    images = LabeledImages(data.train.paths[:7], np.arange(7))
    share = keep_readable(images, data.preprocessing, DistributedContext(1, 3))
    assert share.targets.tolist() == [1, 4]


@pytest.mark.parametrize("batch_size", [1, 5, 13, 20])
def test_image_loader__yields_all_images_in_order(data: FineTuningData, batch_size: int) -> None:
    keys: list[Key] = [(index, None) for index in (*range(13), 0, 0)]
    batches = list(ImageLoader(data.train, data.preprocessing, keys, batch_size))
    assert all(len(pixels) == batch_size for pixels, _ in batches[:-1])
    expected = [data.preprocessing.read(data.train.paths[index]) for index, _ in keys]
    pixels, targets = (torch.cat(values).numpy() for values in zip(*batches, strict=True))
    assert np.array_equal(pixels, expected)
    assert np.array_equal(targets, data.train.targets[[index for index, _ in keys]])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_image_loader__workers_do_not_change_batches_or_the_global_generator(
    data: FineTuningData, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, states = [], []
    for workers in (0, 2):
        monkeypatch.setattr(sampling, "granted_cpus", lambda count=workers: count)
        torch.manual_seed(0)
        sampler = EpochSampler(data.train.targets, 8, 0, DistributedContext())
        loader = ImageLoader(data.train, data.preprocessing, sampler, 4)
        epochs = []
        for sampler.epoch in (1, 2):
            epochs.extend(pixels for pixels, _ in loader)
        batches.append(torch.stack(epochs))
        states.append(torch.get_rng_state())
    assert torch.equal(*batches)
    assert torch.equal(*states)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_image_loader__image_became_unreadable(
    data: FineTuningData, broken: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "granted_cpus", lambda: workers)
    images = replace(data.train, paths=(*data.train.paths[:12], broken))
    loader = ImageLoader(images, data.preprocessing, [(0, None), (12, 1), (2, None)], 2)
    with pytest.raises(DataError, match=r"broken\.jpg: was readable when .* now: .*") as caught:
        list(loader)
    assert "\n" not in str(caught.value)
