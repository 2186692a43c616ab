"""Text tables of a training result."""

from collections.abc import Mapping
from typing import Any

from boats_metrics.classification import format_class_table
from boats_metrics.jackknife import describe_intervals
from boats_runtime.text import escape_text
from boats_train.pipeline import TrainingResult


def format_result(result: TrainingResult) -> str:
    """Return the metrics of each split, the cross-validation and the classes of the last split."""
    lines = [f"split  {'accuracy (95%)':22}  {'macro-F1 (95%)':22}  images"]
    lines.extend(
        f"{name:5}  {_format_interval(split.accuracy, split.intervals.accuracy)}  "
        f"{_format_interval(split.macro_f1, split.intervals.macro_f1)}  {split.images:6d}"
        for name, split in result.metrics.items()
    )
    first = next(iter(result.metrics.values()))
    lines.append(f"intervals {describe_intervals(first.intervals.unit, first.intervals.groups)}")
    if result.run.config.model == "finetune" and result.run.config.unfreeze != "0":
        lines.append("the epoch was chosen by the macro-F1 of valid, which is optimistic")
    if "cross_validation" in result.run.metrics:
        lines += ["", *format_cross_validation(result.run.metrics)]
    last = list(result.metrics)[-1]
    lines += ["", f"{last} by class", *format_class_table(result.metrics[last])]
    return "\n".join(map(escape_text, lines))


def format_cross_validation(metrics: Mapping[str, Any]) -> list[str]:
    """Return the cross-validation, the hyperparameters and the threshold as lines of text."""
    search, scores = metrics["cross_validation"], metrics["cross_validation_with_valid"]
    candidate = search["chosen"]
    accuracy = _format_interval(scores["accuracy"], scores["accuracy_interval"])
    macro_f1 = _format_interval(scores["macro_f1"], scores["macro_f1_interval"])
    return [
        f"cross-validation, {scores['kind']} ({', '.join(scores['folds'])}), "
        f"{_name_images(scores)}: mean accuracy {scores['mean_accuracy']:.3f}",
        f"  all {scores['photos']} images, each while held out: "
        f"accuracy {accuracy}, macro-F1 {macro_f1}",
        *_format_fine_tuning(metrics.get("fine_tuning", {})),
        f"  hyperparameters, selected on {_name_images(search)}: scaler {candidate['scaling']}, "
        f"C {candidate['cost']:g}, gamma {candidate['gamma_factor']:g} x scale, "
        f"class weights {candidate['class_weight']}",
        f"  {_format_threshold(metrics['operating_point'])}",
    ]


def _format_fine_tuning(recorded: Mapping[str, Any]) -> list[str]:
    if recorded.get("blocks", "0") == "0":
        return [f"  frozen backbone: {recorded['reason']}"] if recorded else []
    epochs = recorded["cross_fitting"]["epochs"]
    return [
        f"  from networks trained without the held-out images, for {epochs} epochs instead of "
        f"{recorded['epochs']}; {recorded['reason']} over frozen features"
    ]


def _format_threshold(point: Mapping[str, Any] | None) -> str:
    if point is None:
        return "no threshold: each class has all its images in one fold"
    text = f"{point['accuracy']:.1%} on {_name_images(point)}, each while held out"
    if point["excluded"]:
        text += f"; without {point['excluded']} images whose class is in one fold only"
    if point["threshold"] == 0:
        return f"no threshold: accuracy {text}"
    return (
        f"threshold {point['threshold']:.2f}: coverage {point['coverage']:.1%}, "
        f"selective accuracy {text}"
    )


def _name_images(recorded: Mapping[str, Any]) -> str:
    return f"{recorded['photos']} images of {' and '.join(recorded['splits'])}"


def _format_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"
