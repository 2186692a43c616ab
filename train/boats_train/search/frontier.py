"""Comparison of candidates: paired differences over groups, Pareto frontier, and the choice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

MAX_STANDARD_ERRORS = 2.0
"""A slower candidate that is less accurate by more paired standard errors is stopped."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of a classifier on images that were held out, group by group.

    Attributes:
        folds: Accuracy on each held-out group.
        macro_f1: Macro-F1 of all images together.
        images: Number of images.
    """

    folds: tuple[float, ...]
    macro_f1: float
    images: int

    @property
    def mean(self) -> float:
        """Mean accuracy of the groups."""
        return float(np.mean(self.folds))

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {"folds": list(self.folds), "macro_f1": self.macro_f1, "photos": self.images}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Accuracy":
        """Create the result of `to_json` again."""
        return cls(tuple(values["folds"]), values["macro_f1"], values["photos"])


class Measured(Protocol):
    """A candidate whose accuracy, latency and file size are known."""

    @property
    def name(self) -> str:
        """Name in messages."""

    @property
    def accuracy(self) -> Accuracy:
        """Accuracy on held-out groups."""

    @property
    def latency_ms(self) -> float:
        """Latency of one image in milliseconds."""

    @property
    def megabytes(self) -> float:
        """Size of the exported file in 10^6 bytes."""


Candidate = TypeVar("Candidate", bound=Measured)


@dataclass(frozen=True)
class Budget:
    """Limits of latency and file size; None for no limit."""

    latency_ms: float | None = None
    megabytes: float | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.latency_ms is not None or self.megabytes is not None

    def compute_excess(self, candidate: Measured) -> float:
        """Return the largest ratio of a measurement to its limit; 0 without limits."""
        pairs = ((candidate.latency_ms, self.latency_ms), (candidate.megabytes, self.megabytes))
        return max((value / limit for value, limit in pairs if limit is not None), default=0.0)

    def describe(self) -> str:
        """Return the limits as text."""
        limits = [f"{self.latency_ms:g} ms"] if self.latency_ms is not None else []
        limits += [f"{self.megabytes:g} MB"] if self.megabytes is not None else []
        return " and ".join(limits)


def compare_accuracy(first: Accuracy, second: Accuracy) -> tuple[float, float]:
    """Return the mean difference of the first to the second, and its paired standard error.

    Both were measured on the same groups, whose differences are the sample. With a single group,
    the standard error is infinite.
    """
    differences = np.subtract(first.folds, second.folds)
    if len(differences) < 2:
        return float(differences.mean()), math.inf
    return float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(differences)))


def is_clearly_worse(accuracy: Accuracy, other: Accuracy) -> bool:
    """Return whether a classifier is less accurate by more than two paired standard errors.

    Its macro-F1 must also be lower.
    """
    difference, error = compare_accuracy(accuracy, other)
    return difference < -MAX_STANDARD_ERRORS * error and accuracy.macro_f1 <= other.macro_f1


def find_frontier(candidates: Sequence[Measured]) -> list[bool]:
    """Return for each candidate whether it is on the Pareto frontier.

    A candidate is not on it if another one is at least as good in accuracy, macro-F1, latency and
    file size, and better in one of them.
    """

    def key(candidate: Measured) -> tuple[float, ...]:
        accuracy = candidate.accuracy
        return (accuracy.mean, accuracy.macro_f1, -candidate.latency_ms, -candidate.megabytes)

    keys = [key(candidate) for candidate in candidates]
    return [not any(other != own and _at_least(other, own) for other in keys) for own in keys]


def find_ties(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the most accurate candidate and those within a paired standard error of it."""
    best = max(candidates, key=lambda candidate: (candidate.accuracy.mean, -candidate.latency_ms))

    def ties(candidate: Candidate) -> bool:
        difference, error = compare_accuracy(candidate.accuracy, best.accuracy)
        return candidate is best or -difference < error

    return [candidate for candidate in candidates if ties(candidate)]


def choose(candidates: Sequence[Candidate], budget: Budget) -> Candidate | None:
    """Return the most accurate candidate within the budget, of ties the fastest; None if none is.

    Candidates tie with the most accurate one if they are less than a paired standard error worse.
    """
    allowed = [candidate for candidate in candidates if budget.compute_excess(candidate) <= 1]
    if not allowed:
        return None
    return min(
        find_ties(allowed), key=lambda candidate: (candidate.latency_ms, -candidate.accuracy.mean)
    )


def _at_least(first: Sequence[float], second: Sequence[float]) -> bool:
    return all(mine >= other for mine, other in zip(first, second, strict=True))
