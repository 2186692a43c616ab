"""Evaluations made from arrays, without models and images."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boats_evaluate.evaluation import Evaluation, FileResult
from boats_evaluate.file_metrics import compute_file_metrics
from boats_evaluate.labeled_images import LabeledImage
from boats_evaluate.predictions import Predictions
from boats_metrics.paired import compare_paired


def make_evaluation(
    labels: tuple[str, ...],
    targets: NDArray[np.int64],
    *predicted: NDArray[np.int64],
    scores: NDArray[np.float64] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Evaluation:
    """Make an evaluation whose images have the digests 0, 1, ... and do not exist.

    Args:
        labels: K class names.
        targets: (N,) int64, true class indices.
        predicted: (N,) int64 for each file, predicted class indices.
        scores: (N,) float64, scores of all files; 0.8 by default.
        groups: (N,) int64, group of each image; none by default.
    """
    scores = np.full(len(targets), 0.8) if scores is None else scores
    files = []
    for number, indices in enumerate(predicted):
        predictions = Predictions(indices, scores)
        metrics = compute_file_metrics(targets, predictions, labels, 0.5, groups)
        comparison = None
        if number:
            comparison = compare_paired(targets, predicted[0], indices, groups=groups)
        file = FileResult(
            f"{number}.onnx", 10, "ab" * 32, "cpu", "fp32", predictions, metrics,
            comparison=comparison,
        )  # fmt: skip
        files.append(file)
    folder = Path("some/folder")
    return Evaluation(
        folder,
        labels,
        images=tuple(
            LabeledImage(folder / f"{number}.jpg", labels[target], number.to_bytes(32, "big"))
            for number, target in enumerate(targets)
        ),
        targets=targets,
        files=tuple(files),
        image_groups=groups,
    )
