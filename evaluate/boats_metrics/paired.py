"""Paired comparison of two models on the same images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from boats_metrics.classification import DRAWS, Interval, mean_ratio, percentile_interval

CHUNK = 100
"""Bootstrap samples that are evaluated at a time, to bound the memory."""

ClassIndices = NDArray[np.int64]


@dataclass(frozen=True)
class McNemarResult:
    """Result of McNemar's test of two models.

    Attributes:
        lost: Number of images that only the first model predicts correctly.
        won: Number of images that only the second model predicts correctly.
        p_two_sided: p-value of the hypothesis that both are equally accurate.
        p_worse: One-sided p-value; small if the second model is worse.
    """

    lost: int
    won: int
    p_two_sided: float
    p_worse: float


def mcnemar_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemarResult:
    """Test whether two models are equally accurate on the same images.

    The exact test of McNemar 1947 (Psychometrika 12:153): images that only one model predicts
    correctly favor either model with probability 1/2 (Fagerland, Lydersen and Laake 2013, BMC Med
    Res Methodol 13:91).

    Args:
        first: (N,) bool, whether each prediction of the first model is correct.
        second: (N,) bool, whether each prediction of the second model is correct.
    """
    lost, won = int(np.sum(first & ~second)), int(np.sum(~first & second))
    trials = max(lost + won, 1)  # binomtest needs at least 1; both p-values are then 1
    p_two_sided = float(binomtest(lost, trials).pvalue)
    p_worse = float(binomtest(lost, trials, alternative="greater").pvalue)
    return McNemarResult(lost, won, p_two_sided, p_worse)


@dataclass(frozen=True)
class PairedComparison(McNemarResult):
    """McNemar's test of two models, and the differences of the second from the first.

    Attributes:
        accuracy: Difference of the accuracies, -1 to 1, with `accuracy_interval`.
        macro_f1: Difference of the macro-F1, -1 to 1, with `macro_f1_interval`.
        macro_f1_before: Macro-F1 of the first model, 0 to 1.
        p_macro_f1_worse: Share of the bootstrap samples in which the second model is not worse.
    """

    accuracy: float
    accuracy_interval: Interval
    macro_f1_before: float
    macro_f1: float
    macro_f1_interval: Interval
    p_macro_f1_worse: float


def compare_paired(
    targets: ClassIndices, first: ClassIndices, second: ClassIndices, seed: int = 0
) -> PairedComparison:
    """Compare two models on the same images.

    Intervals are computed by the paired bootstrap: each sample holds the same images for both
    models (Koehn 2004, https://aclanthology.org/W04-3250/).

    Args:
        targets: (N,) int64, true class indices; N is at least 1.
        first: (N,) int64, class indices that the first model predicts.
        second: (N,) int64, class indices that the second model predicts.
        seed: Seed for the random draws.
    """
    test = mcnemar_test(first == targets, second == targets)
    images = len(targets)
    triples = np.stack([targets, first, second])
    classes, indices = np.unique(triples, return_inverse=True)
    cells, counts = np.unique(indices.reshape(triples.shape), axis=1, return_counts=True)
    one_hot = np.eye(len(classes))
    accuracy, macro_f1, macro_f1_before = _differences(counts[np.newaxis], cells, one_hot)[0]
    # Resampling images with replacement is a multinomial draw over the distinct triples.
    rng = np.random.default_rng(seed)
    chunks = (rng.multinomial(images, counts / images, size=CHUNK) for _ in range(DRAWS // CHUNK))
    samples = np.concatenate([_differences(chunk, cells, one_hot) for chunk in chunks])
    not_worse = int(np.sum(samples[:, 1] >= 0))
    return PairedComparison(
        **asdict(test),
        accuracy=float(accuracy),
        accuracy_interval=percentile_interval(samples[:, 0]),
        macro_f1_before=float(macro_f1_before),
        macro_f1=float(macro_f1),
        macro_f1_interval=percentile_interval(samples[:, 1]),
        # Adding 1 to both counts keeps p above 0 (Davison and Hinkley 1997, section 4.2).
        p_macro_f1_worse=(not_worse + 1) / (DRAWS + 1),
    )


def _differences(
    counts: NDArray[np.int64], cells: NDArray[np.int64], one_hot: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the differences of accuracy and macro-F1, and the first macro-F1, as (D, 3) float64.

    Args:
        counts: (D, C) int64, number of images in each cell, for each sample.
        cells: (3, C) int64, true class and both predictions of each cell.
        one_hot: (K, K) float64, identity matrix.
    """
    targets, *predictions = cells
    support = counts @ one_hot[targets]
    accuracy, macro_f1 = [], []
    for predicted in predictions:
        correct = counts @ (one_hot[targets] * (targets == predicted)[:, np.newaxis])
        accuracy.append(correct.sum(axis=1) / counts.sum(axis=1))
        macro_f1.append(mean_ratio(2 * correct, support + counts @ one_hot[predicted]))
    return np.column_stack([accuracy[1] - accuracy[0], macro_f1[1] - macro_f1[0], macro_f1[0]])


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple testing, in their order (Holm 1979, Scand J Statist 6:65)."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(np.minimum(1, np.asarray(p_values)[order] * factors))
    return list(map(float, corrected))
