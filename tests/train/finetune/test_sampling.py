import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from boats_data.dataset import LabeledImages
from boats_runtime.errors import DataError
from boats_runtime.preprocessing import Preprocessing, decode
from boats_train.finetune.distributed import DistributedContext
from boats_train.finetune.sampling import draw_photos, keep_readable, load_batches

SIZE = Preprocessing(24, 48)
TARGETS = np.repeat(np.arange(3), (100, 25, 4))


@pytest.fixture(scope="module")
def paths(dataset_folder: Path) -> list[Path]:
    return sorted(dataset_folder.glob("train/*/*.jpg"))


@pytest.fixture
def broken(tmp_path: Path, paths: list[Path]) -> Path:
    path = tmp_path / "broken.jpg"
    path.write_bytes(paths[0].read_bytes()[:300])
    return path


def test_draw_photos__the_same_for_the_same_seed_and_epoch() -> None:
    drawn = draw_photos(TARGETS, 129, 0, 1)
    assert drawn.dtype == np.int64
    assert np.array_equal(drawn, draw_photos(TARGETS, 129, 0, 1))
    for other in (draw_photos(TARGETS, 129, 1, 1), draw_photos(TARGETS, 129, 0, 2)):
        assert not np.array_equal(drawn, other)


def test_draw_photos__classes_by_the_square_root_of_their_size() -> None:
    counts = np.bincount(TARGETS[draw_photos(TARGETS, 1700, 0, 1)])
    assert counts.tolist() == pytest.approx([1000, 500, 200], abs=3)


@pytest.mark.parametrize("count", [1, 50, 129, 1000])
def test_draw_photos__each_as_often_as_on_average(count: int) -> None:
    drawn = draw_photos(TARGETS, count, 0, 1)
    assert len(drawn) == count
    roots = np.sqrt([100, 25, 4])
    expected = (count * roots / roots.sum() / [100, 25, 4])[TARGETS]
    times = np.bincount(drawn, minlength=len(TARGETS))
    assert np.all(np.abs(times - expected) < 1)


def test_draw_photos__classes_are_mixed() -> None:
    targets = TARGETS[draw_photos(TARGETS, 1700, 0, 1)]
    assert set(targets[:40]) == set(targets[-40:]) == {0, 1, 2}


def test_draw_photos__one_photo() -> None:
    assert draw_photos(np.zeros(1, np.int64), 3, 0, 1).tolist() == [0, 0, 0]


def test_draw_photos__a_class_without_photos() -> None:
    assert set(draw_photos(np.asarray([0, 2]), 8, 0, 1)) == {0, 1}


def test_keep_readable__without_those_that_cannot_be_decoded(
    paths: list[Path], broken: Path
) -> None:
    split = LabeledImages((paths[0], broken, paths[1], broken.with_name("gone.jpg")), np.arange(4))
    kept = keep_readable(split, SIZE, DistributedContext())
    assert kept.paths == (paths[0], paths[1])
    assert kept.targets.tolist() == [0, 2]


def test_keep_readable__none(broken: Path) -> None:
    kept = keep_readable(LabeledImages((broken,), np.arange(1)), SIZE, DistributedContext())
    assert kept.paths == ()
    assert kept.targets.shape == (0,)


def test_keep_readable__looks_at_its_own_share_only(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DistributedContext, "add", lambda _, values: values)
    split = LabeledImages(tuple(paths[:7]), np.arange(7))
    assert keep_readable(split, SIZE, DistributedContext(1, 3)).targets.tolist() == [1, 4]


@pytest.mark.parametrize("batch", [1, 3, 5, 13, 20])
def test_load_batches__all_in_order(paths: list[Path], batch: int) -> None:
    wanted = [*paths[::2], paths[0], paths[0]]
    batches = list(load_batches(SIZE, wanted, batch))
    assert [len(pixels) for pixels in batches[:-1]] == [batch] * (len(batches) - 1)
    expected = np.stack([SIZE.apply(decode(path)) for path in wanted])
    assert np.array_equal(np.concatenate(batches), expected)
    assert torch.from_numpy(batches[0]).dtype == torch.uint8


def test_load_batches__no_photos() -> None:
    assert list(load_batches(SIZE, [], 4)) == []


@pytest.mark.parametrize("place", [0, 3, 4])
def test_load_batches__broken_since(paths: list[Path], broken: Path, place: int) -> None:
    wanted = paths[:5]
    wanted[place] = broken
    with pytest.raises(DataError, match=r"broken\.jpg: could be read at first"):
        list(load_batches(SIZE, wanted, 2))


def test_load_batches__left_early(paths: list[Path]) -> None:
    batches = load_batches(SIZE, paths, 2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    del batches
    gc.collect()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("batch", "decode"))]
