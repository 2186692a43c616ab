from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from boats_train.finetune.augmentation import (
    COLOUR,
    FILL,
    SCALE,
    SHIFT,
    Change,
    augment,
    draw_change,
)

NOTHING = Change(False, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)


@pytest.fixture
def photos() -> torch.Tensor:
    """Three photos of noise, `(3, 20, 60, 3) uint8`."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (3, 20, 60, 3), dtype=np.uint8))


def only(pixels: torch.Tensor, **what: float) -> torch.Tensor:
    """Changes the first photo in one way."""
    return augment(pixels[:1], [replace(NOTHING, **what)])[0]


def test_draw_change__the_same_for_the_same_place() -> None:
    assert draw_change(3, 1, 7) == draw_change(3, 1, 7)


def test_draw_change__another_for_each_seed_epoch_and_place() -> None:
    drawn = {draw_change(*key) for key in product(range(3), range(1, 4), range(5))}
    assert len(drawn) == 3 * 3 * 5


def test_draw_change__leaves_global_randomness_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    draw_change(0, 1, 0)
    assert torch.rand(1) == expected


def test_draw_change__within_its_ranges_and_across_them() -> None:
    changes = [draw_change(0, 1, place) for place in range(400)]
    for name, centre, reach in (
        ("brightness", 1, COLOUR),
        ("contrast", 1, COLOUR),
        ("saturation", 1, COLOUR),
        ("scale", 1, SCALE),
        ("right", 0, SHIFT),
        ("down", 0, SHIFT),
    ):
        values = np.asarray([getattr(change, name) for change in changes])
        assert np.abs(values - centre).max() <= reach
        assert values.max() - values.min() > 1.9 * reach
        assert abs(values.mean() - centre) < 0.1 * reach
    assert 160 < sum(change.flip for change in changes) < 240


def test_augment__nothing_to_change(photos: torch.Tensor) -> None:
    assert torch.equal(augment(photos, [NOTHING] * 3), photos)


def test_augment__flip_swaps_left_and_right(photos: torch.Tensor) -> None:
    assert torch.equal(only(photos, flip=True), photos[0].flip(1))


def test_augment__brightness_scales_pixels(photos: torch.Tensor) -> None:
    expected = photos[0].float() * 0.7
    assert (only(photos, brightness=0.7).float() - expected).abs().max() <= 1


def test_augment__contrast_draws_towards_the_mean(photos: torch.Tensor) -> None:
    assert only(photos, contrast=0.6).float().std() < 0.7 * photos[0].float().std()


def test_augment__no_saturation_is_grey(photos: torch.Tensor) -> None:
    grey = only(photos, saturation=0.0)
    assert (grey.amax(dim=2).int() - grey.amin(dim=2)).max() <= 1


def test_augment__shrunk_photos_have_the_mean_around_them(photos: torch.Tensor) -> None:
    shrunk = only(photos, scale=0.5)
    assert shrunk[0, 0].tolist() == shrunk[-1, -1].tolist() == FILL
    assert shrunk[10, 30].tolist() != FILL


def test_augment__shift_moves_right_and_down(photos: torch.Tensor) -> None:
    moved = only(photos, right=3 / 60, down=2 / 20)
    assert torch.equal(moved[2:, 3:], photos[0, :-2, :-3])
    assert moved[0, 0].tolist() == FILL


def test_augment__each_photo_as_if_alone(photos: torch.Tensor) -> None:
    changes = [draw_change(0, 1, place) for place in range(3)]
    together = augment(photos, changes)
    assert together.dtype == torch.uint8
    assert together.shape == photos.shape
    for index, change in enumerate(changes):
        assert torch.equal(together[index], augment(photos[index : index + 1], [change])[0])


def test_augment__leaves_its_input_alone(photos: torch.Tensor) -> None:
    before = photos.clone()
    augment(photos, [draw_change(0, 1, place) for place in range(3)])
    assert torch.equal(photos, before)
