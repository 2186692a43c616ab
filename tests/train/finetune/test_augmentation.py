import numpy as np
import torch

from boats_train.finetune.augmentation import FILL, SHIFT, augment

NOISE = np.random.default_rng(0).integers(0, 256, (20, 60, 3), dtype=np.uint8)
SEEDS = range(40)


def test_augment__depends_on_the_seed_alone() -> None:
    augmented = [augment(NOISE, seed) for seed in SEEDS]
    assert all(np.array_equal(augment(NOISE, seed), augmented[seed]) for seed in SEEDS)
    assert len({image.tobytes() for image in augmented}) == len(SEEDS)


def test_augment__returns_a_copy_of_the_same_format() -> None:
    pixels = NOISE.copy()
    augmented = augment(pixels, 0)
    assert (augmented.dtype, augmented.shape) == (pixels.dtype, pixels.shape)
    assert np.array_equal(pixels, NOISE)


def test_augment__leaves_the_global_generator_unchanged() -> None:
    state = torch.manual_seed(123).get_state()
    augment(NOISE, 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_augment__flips_half_of_the_images_and_none_vertically() -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:10, :30] = 200  # one bright quarter: top left
    augmented = [augment(pixels, seed)[2:-2, 4:-4].mean(axis=2) for seed in SEEDS]
    assert all(image[:8].mean() > image[8:].mean() for image in augmented)
    flipped = sum(image[:, 26:].mean() > image[:, :26].mean() for image in augmented)
    assert 10 < flipped < 30


def test_augment__keeps_the_hue() -> None:
    pixels = np.full((20, 60, 3), (120, 60, 60), np.uint8)
    centers = [augment(pixels, seed)[10, 30].astype(int) for seed in SEEDS]
    assert all(red > green == blue for red, green, blue in centers)
    brightness = [red for red, _, _ in centers]
    assert min(brightness) < 100
    assert max(brightness) > 140


def test_augment__fills_the_border_of_shifted_images_with_the_mean() -> None:
    white = np.full((20, 60, 3), 255, np.uint8)
    borders = [
        augment(white, seed)[[0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3).tolist()
        for seed in SEEDS
    ]
    assert any(FILL in corners for corners in borders)
    largest_border = 1 + round(60 * (SHIFT + 0.05))
    assert all((augment(white, seed)[10, largest_border] != FILL).any() for seed in SEEDS)
