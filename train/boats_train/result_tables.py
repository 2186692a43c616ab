"""Text tables of a training result."""

from collections.abc import Mapping
from typing import Any

from boats_metrics.classification import format_class_table
from boats_train.pipeline import TrainingResult


def format_result(result: TrainingResult) -> str:
    """Return the metrics of each split, the cross-validation and the classes of the last split."""
    lines = [f"split  {'accuracy (95%)':22}  {'macro-F1 (95%)':22}  images"]
    lines.extend(
        f"{name:5}  {_format_interval(split.accuracy, split.intervals.accuracy)}  "
        f"{_format_interval(split.macro_f1, split.intervals.macro_f1)}  {split.images:6d}"
        for name, split in result.metrics.items()
    )
    if "cross_validation" in result.run.metrics:
        lines += ["", *_format_cross_validation(result.run.metrics)]
    last = list(result.metrics)[-1]
    return "\n".join([*lines, "", f"{last} by class", *format_class_table(result.metrics[last])])


def _format_cross_validation(metrics: Mapping[str, Any]) -> list[str]:
    scores, selection = metrics["cross_validation_with_valid"], metrics["operating_point"]
    candidate = metrics["cross_validation"]["chosen"]
    accuracy = _format_interval(scores["accuracy"], scores["accuracy_interval"])
    macro_f1 = _format_interval(scores["macro_f1"], scores["macro_f1_interval"])
    return [
        f"cross-validation, {scores['kind']} ({', '.join(scores['folds'])}): "
        f"mean accuracy {scores['mean_accuracy']:.3f}",
        f"  all held-out images: accuracy {accuracy}, macro-F1 {macro_f1}",
        f"  hyperparameters: scaler {candidate['scaling']}, C {candidate['cost']:g}, "
        f"gamma {candidate['gamma_factor']:g} x scale, class weights {candidate['class_weight']}",
        f"  threshold {selection['threshold']:.2f}: coverage {selection['coverage']:.1%}, "
        f"selective accuracy {selection['accuracy']:.1%} on held-out images",
    ]


def _format_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
