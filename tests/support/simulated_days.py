"""Predictions on simulated days: images of one day are easier or harder together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

SHARES = np.array([0.5, 0.3, 0.15, 0.05])
"""Mean share of each class."""

CLASSES = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Day:
    """Predictions of two models for the images of one day, (N,) int64 each."""

    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    second: NDArray[np.int64]


def simulate_days(
    rng: np.random.Generator, days: int, images: int = 80, spread: float = 0.5
) -> list[Day]:
    """Draw days with different numbers of images, shares of classes and difficulty.

    Args:
        rng: Generator of the random draws.
        days: Number of days.
        images: Mean number of images of a day.
        spread: Standard deviation of the difficulty of a day, and 0.7 times that of a class on a
            day, in logits of the recall.
    """
    result = []
    sizes = np.maximum(5, images * np.exp(0.5 * rng.normal(size=days))).astype(np.int64)
    for size in sizes:
        recall = expit(2 + spread * (rng.normal() + 0.7 * rng.normal(size=len(SHARES))))
        targets = rng.choice(len(SHARES), size, p=rng.dirichlet(30 * SHARES))
        other = (targets + rng.integers(1, len(SHARES), size)) % len(SHARES)
        predicted = np.where(rng.random(size) < recall[targets], targets, other)
        # The second model guesses for some images, on some days for more.
        guesses = rng.random(size) < rng.beta(1.5, 15)
        second = np.where(guesses, rng.integers(0, len(SHARES), size), predicted)
        result.append(Day(targets, predicted, second))
    return result


def join_days(days: list[Day]) -> tuple[Day, NDArray[np.int64]]:
    """Return all images as one day, and the number of the day of each image, (N,) int64."""
    columns = (
        np.concatenate([getattr(day, name) for day in days])
        for name in ("targets", "predicted", "second")
    )
    return Day(*columns), np.repeat(np.arange(len(days)), [len(day.targets) for day in days])
