"""Accuracy of variants of the features, with held-out groups as in `boats-train`.

    python benchmarks/features.py --backbone mobilenet_v2 --weights FILE --data DIR

Each variant is an SVM that is cross-validated on the training and validation images. The last rows
are two calibrations of the same SVM, fitted on the training images and measured on the validation
images.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import f1_score, log_loss
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC
from torch import nn

from boats_benchmark.report import format_markdown
from boats_data.dataset import scan_dataset
from boats_runtime.cpu import granted_cpus
from boats_runtime.errors import UsageError
from boats_runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from boats_runtime.progress import track
from boats_train.features.extraction import decode_images
from boats_train.models.backbone import build_backbone, load_weights
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.svm.folds import Folds, make_folds
from boats_train.svm.grid_search import Candidate, CrossValidation
from suite.harness import ScriptResult, run_script

C_VALUE, GAMMA_FACTOR = 10.0, 0.7
"""Hyperparameters that the search selects for the Venice boats."""

Features = NDArray[np.float32]
Targets = NDArray[np.int64]

POOLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda grid: grid.mean((2, 3)),
    "max": lambda grid: grid.amax((2, 3)),
    "thirds": lambda grid: nn.functional.adaptive_avg_pool2d(grid, (1, 3)).flatten(1),
}


def measure(weights: str, data: Path, backbone: str = "mobilenet_v2") -> ScriptResult:
    """Extract the features once, and evaluate all variants."""
    dataset = scan_dataset(data)
    splits = [dataset.splits[name] for name in ("train", "valid")]
    paths = [path for split in splits for path in split.paths]
    targets = np.concatenate([split.targets for split in splits])
    pooled = extract(load_layers(backbone, weights), paths)
    folds = make_folds(paths, targets, None, 0)
    rows = [
        *evaluate_variants(pooled, targets, folds),
        *evaluate_calibrations(pooled["mean"], targets, len(splits[0].paths), paths),
    ]
    return ScriptResult(to_markdown(rows), {"features": rows, "folds": list(folds.names)})


def load_layers(backbone: str, weights: str) -> nn.Module:
    """Return a network up to its last feature map, (1, C, h, w) float32.

    Raises:
        UsageError: If the network has no attribute `features`.
    """
    network = build_backbone(backbone)
    load_weights(network, backbone, weights)
    layers = getattr(network, "features", None)
    if layers is None:
        raise UsageError(f"--backbone {backbone}: has no .features; use mobilenet_v2")
    return layers.eval().to(memory_format=torch.channels_last)


def extract(layers: nn.Module, paths: list[Path]) -> dict[str, Features]:
    """Pool the feature map of each image and of its mirror image, by each of the `POOLINGS`."""
    torch.set_num_threads(granted_cpus())
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255
    pooled: dict[str, list[Features]] = {}
    images = decode_images(Preprocessing(240, 800), paths)
    for _, pixels in track(images, "features", len(paths)):
        image = (torch.tensor(pixels).permute(2, 0, 1)[None].float() - mean) / std
        with torch.inference_mode():
            maps = {"": layers(image), "mirrored ": layers(image.flip(3))}
        for prefix, grid in maps.items():
            for name, pool in POOLINGS.items():
                pooled.setdefault(prefix + name, []).append(pool(grid)[0].numpy())
    return {name: np.stack(rows) for name, rows in pooled.items()}


def evaluate_variants(
    pooled: dict[str, Features], targets: Targets, folds: Folds
) -> Iterator[dict[str, Any]]:
    """Yield a row per variant: mean accuracy of the folds, and macro-F1 over all images."""
    mean, mirrored = pooled["mean"], pooled["mirrored mean"]
    joined = np.concatenate([mean, pooled["max"]], axis=1)
    variants: dict[str, tuple[Features, Features | None]] = {
        "average pooling (the default)": (mean, None),
        "scaled to length 1": (Normalizer().transform(mean), None),
        "square root": (np.sign(mean) * np.sqrt(np.abs(mean)), None),
        "max pooling": (pooled["max"], None),
        "average and max pooling, scaled to length 1": (Normalizer().transform(joined), None),
        "thirds of the image pooled separately": (pooled["thirds"], None),
        "mean of the image and its mirror image": ((mean + mirrored) / 2, None),
        "mirror images as additional training images": (mean, mirrored),
    }
    for name, (features, added) in track(variants.items(), "variants", len(variants)):
        predicted = np.empty_like(targets)
        for train, held_out in folds.split():
            rows, labels = features[train], targets[train]
            if added is not None:
                rows, labels = np.concatenate([rows, added[train]]), np.tile(labels, 2)
            svc = SVC(C=C_VALUE, gamma=compute_gamma(rows), break_ties=True).fit(rows, labels)
            predicted[held_out] = svc.predict(features[held_out])
        correct = predicted == targets
        accuracies = [float(correct[held_out].mean()) for _, held_out in folds.split()]
        yield {
            "variant": name,
            "measured_on": folds.kind,
            "accuracy": float(np.mean(accuracies)),
            "macro_f1": float(f1_score(targets, predicted, average="macro", zero_division=0)),
        }


def evaluate_calibrations(
    features: Features, targets: Targets, train_count: int, paths: list[Path]
) -> Iterator[dict[str, Any]]:
    """Yield a row per calibration, fitted on the first `train_count` images."""
    train, labels, valid = features[:train_count], targets[:train_count], features[train_count:]
    gamma = compute_gamma(train)
    folds = make_folds(paths[:train_count], labels, None, 0)
    svc = SVC(C=C_VALUE, gamma=gamma, break_ties=True).fit(train, labels)
    candidate = Candidate("none", GAMMA_FACTOR, C_VALUE, None)
    decisions = CrossValidation(train, labels, folds).compute_decisions(candidate)
    sigmoids = CalibratedClassifierCV(svc, ensemble=False, cv=folds.split_with_all_classes(labels))
    for name, estimator in {
        "one slope, one offset for each class": CalibratedSVC(svc).fit(decisions, labels),
        "one sigmoid for each class": sigmoids.fit(train, labels),
    }.items():
        probabilities = estimator.predict_proba(valid)
        predicted, expected = probabilities.argmax(axis=1), targets[train_count:]
        yield {
            "variant": f"calibration: {name}",
            "measured_on": "validation set",
            "accuracy": float(np.mean(predicted == expected)),
            "macro_f1": float(f1_score(expected, predicted, average="macro")),
            "log_loss": float(log_loss(expected, probabilities, labels=np.unique(labels))),
        }


def compute_gamma(features: Features) -> float:
    """Return gamma: `GAMMA_FACTOR` times scikit-learn's `gamma="scale"`."""
    return GAMMA_FACTOR / (features.shape[1] * float(features.var()))


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table."""
    cells = [
        (
            row["variant"],
            row["measured_on"],
            f"{row['accuracy']:.4f}",
            f"{row['macro_f1']:.3f}",
            f"{row['log_loss']:.3f}" if "log_loss" in row else "",
        )
        for row in rows
    ]
    header = ("variant", "measured on", "accuracy", "macro-F1", "log loss")
    return format_markdown(header, cells, text_columns=2)


if __name__ == "__main__":
    run_script(measure)
