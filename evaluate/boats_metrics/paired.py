"""Two files on the same photos: is one better, or is it chance?

Only the photos tell them apart that one has right and the other wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

DRAWS = 2000
AT_ONCE = 100
"""Draws that are counted at once, to bound the memory."""

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Pairing:
    """How two files differ in accuracy.

    Attributes:
        lost: Photos that the first has right and the second wrong.
        won: Photos that the first has wrong and the second right.
        p_two_sided: Of McNemar's exact test that they are equally good.
        p_worse: Of the same test, one-sided: small where the second is worse.
    """

    lost: int
    won: int
    p_two_sided: float
    p_worse: float


def mcnemar_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Pairing:
    """Tests whether two files are equally often right.

    The exact test of McNemar 1947 (Psychometrika 12:153): the photos that one alone has right fall
    to either side like a coin (Fagerland, Lydersen and Laake 2013, BMC Med Res Methodol 13:91).

    Args:
        first: Whether the first is right `(N,) bool`.
        second: Whether the second is right, on the same photos.
    """
    lost, won = int(np.sum(first & ~second)), int(np.sum(~first & second))
    if not lost + won:
        return Pairing(0, 0, 1.0, 1.0)
    return Pairing(
        lost,
        won,
        float(binomtest(lost, lost + won).pvalue),
        float(binomtest(lost, lost + won, alternative="greater").pvalue),
    )


@dataclass(frozen=True)
class Change:
    """What the second of two files adds to the first.

    Attributes:
        accuracy: Difference of the accuracies, -1 to 1.
        accuracy_interval: 95 % (low, high).
        macro_f1_before: Of the first, 0 to 1.
        macro_f1: Difference of the macro-F1, -1 to 1.
        macro_f1_interval: 95 % (low, high).
        p_macro_f1_worse: Share of the draws in which the second is not worse.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1_before: float
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    p_macro_f1_worse: float


def bootstrap_change(targets: Labels, first: Labels, second: Labels, seed: int = 0) -> Change:
    """Bounds a difference by drawing the same photos for both: the paired bootstrap.

    Koehn 2004, https://aclanthology.org/W04-3250/. Drawing photos again is drawing the triples of
    true and predicted classes by their shares.

    Args:
        targets: True class indices `(N,) int64`, N at least 1.
        first: Predicted by the first file `(N,) int64`.
        second: Predicted by the second.
        seed: Of the draws.
    """
    triples = np.stack([targets, first, second])
    classes, coded = np.unique(triples, return_inverse=True)
    cells, counts = np.unique(coded.reshape(triples.shape), axis=1, return_counts=True)
    one_hot = np.eye(len(classes))
    photos = len(targets)
    value = _measure(counts[np.newaxis].astype(np.float64), cells, one_hot)[0]
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            _measure(
                rng.multinomial(photos, counts / photos, size=AT_ONCE).astype(np.float64),
                cells,
                one_hot,
            )
            for _ in range(DRAWS // AT_ONCE)
        ]
    )
    (low, f1_low), (high, f1_high) = np.percentile(drawn[:, :2], [2.5, 97.5], axis=0)
    not_worse = int(np.sum(drawn[:, 1] >= 0))
    return Change(
        float(value[0]),
        (float(low), float(high)),
        float(value[2]),
        float(value[1]),
        (float(f1_low), float(f1_high)),
        # One is added to both, so that p is never 0 (Davison and Hinkley 1997, section 4.2).
        (not_worse + 1) / (DRAWS + 1),
    )


def _measure(
    tables: NDArray[np.float64], cells: NDArray[np.int64], one_hot: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns differences of accuracy and macro-F1, and the first's macro-F1, `(D, 3)`.

    Args:
        tables: Photos in each cell `(D, C)`.
        cells: True class and both predictions of each cell `(3, C)`.
        one_hot: `(K, K)`, the identity.
    """
    true, *predictions = cells
    supports = tables @ one_hot[true]
    values = []
    for predicted in predictions:
        right = tables @ (one_hot[true] * (true == predicted)[:, np.newaxis])
        occurring = supports + tables @ one_hot[predicted]
        f1 = np.divide(2 * right, occurring, out=np.zeros(right.shape), where=occurring > 0)
        macro = f1.sum(axis=1) / (occurring > 0).sum(axis=1)
        values.append(np.column_stack([right.sum(axis=1) / tables.sum(axis=1), macro]))
    first, second = values
    return np.column_stack([second - first, first[:, 1]])


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number, in their order (Holm 1979, Scand J Statist 6:65)."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected
