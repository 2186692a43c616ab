"""Counts of predictions, and the metrics of many weighted samples of them in bounded memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

MEMORY = 64 * 2**20
"""Bytes that the samples computed at a time may take."""

ACCURACY, BALANCED_ACCURACY, MACRO_F1 = range(3)
"""Position of each metric in the results."""

ClassIndices = NDArray[np.int64]
Floats = NDArray[np.float64]


class PredictionCounts:
    """Number of images for each cell: each combination of true class and predicted classes.

    Resampling images is a multinomial draw over the cells. Metrics need only three sums for each
    class, so the memory grows with the cells and classes, not with their square.

    Args:
        targets: (C,) int64, true class index of each cell.
        predicted: (T, C) int64, class indices that each of T models predicts.
        counts: (C,) int64, number of images of each cell.
    """

    def __init__(
        self, targets: ClassIndices, predicted: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> None:
        self.counts = counts
        classes, indices = np.unique(np.stack([targets, *predicted]), return_inverse=True)
        targets, *rows = indices.reshape(len(predicted) + 1, len(counts))
        self._classes, self._models = len(classes), len(rows)
        ones = np.ones(len(counts))
        # Columns: support, then correct and predicted images of each model, by class.
        blocks = [(targets, ones)]
        for row in rows:
            blocks += [(targets, (row == targets).astype(np.float64)), (row, ones)]
        starts = np.arange(len(counts) + 1) * len(blocks)
        columns = np.stack([start * len(classes) + row for start, (row, _) in enumerate(blocks)], 1)
        values = np.stack([value for _, value in blocks], 1)
        shape = (len(counts), len(blocks) * len(classes))
        self._sums = csr_array((values.ravel(), columns.ravel(), starts), shape=shape)

    @property
    def chunk(self) -> int:
        """Number of samples whose weights, sums and temporary values fit into `MEMORY`."""
        width = 2 * len(self.counts) + 4 * int(self._sums.shape[1])
        return max(1, MEMORY // (8 * width))

    def compute(self) -> Floats:
        """Return the metrics of the images, (T, 3) float64: see `ACCURACY` and the following."""
        metrics: Floats = self._compute(self.counts[np.newaxis] @ self._sums)[0]
        return metrics

    def bootstrap(self, draws: int, seed: int) -> Floats:
        """Return the metrics of images drawn with replacement, (draws, T, 3) float64."""
        rng, images = np.random.default_rng(seed), int(self.counts.sum())
        shares = self.counts / images
        sizes = (min(self.chunk, draws - start) for start in range(0, draws, self.chunk))
        chunks = (rng.multinomial(images, shares, size=size) for size in sizes)
        return np.concatenate([self._compute(weights @ self._sums) for weights in chunks])

    def leave_one_out(self, cells: NDArray[np.int64], groups: NDArray[np.int64]) -> Floats:
        """Return the metrics without each of G groups, (G, T, 3) float64.

        Args:
            cells: (N,) int64, cell of each image.
            groups: (N,) int64, group of each image, 0 to G - 1; G is at least 2.
        """
        shape = (int(groups.max()) + 1, len(self.counts))
        removed = csr_array((np.ones(len(cells)), (groups, cells)), shape=shape)
        total = self.counts @ self._sums
        return np.concatenate(
            [
                self._compute(total - (removed[start : start + self.chunk] @ self._sums).toarray())
                for start in range(0, shape[0], self.chunk)
            ]
        )

    def _compute(self, sums: Floats) -> Floats:
        support, *rest = np.split(sums, 1 + 2 * self._models, axis=1)
        images = support.sum(axis=1)
        metrics = []
        for correct, predicted in zip(rest[::2], rest[1::2], strict=True):
            accuracy = correct.sum(axis=1) / images
            recall = mean_ratio(correct, support)
            macro_f1 = mean_ratio(2 * correct, support + predicted)
            metrics.append(np.stack([accuracy, recall, macro_f1], axis=1))
        return np.stack(metrics, axis=1)


def count_predictions(
    targets: ClassIndices, *predicted: ClassIndices
) -> tuple[PredictionCounts, NDArray[np.int64]]:
    """Count the predictions of models for N images; return also the cell of each image, (N,)."""
    rows = np.stack([targets, *predicted])
    keys = np.ravel_multi_index(tuple(rows), (int(rows.max()) + 1,) * len(rows))
    _, first, cells, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    return PredictionCounts(targets[first], rows[1:, first], counts), cells


def mean_ratio(numerators: NDArray[Any], denominators: NDArray[Any]) -> Floats:
    """Return the means (D,) of the ratios (D, K) over the classes with a positive denominator."""
    defined = denominators > 0
    ratios = np.divide(numerators, denominators, out=np.zeros(defined.shape), where=defined)
    means: Floats = ratios.sum(axis=1) / defined.sum(axis=1)
    return means
