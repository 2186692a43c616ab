"""What else could be made of the features: each variant held out by groups, like `boats-train`.

Every row is one SVM setting, cross-validated on train and valid together as `boats-train` reports
it; the last rows are two calibrations of the same SVM, learned on train and measured on valid.

    python benchmarks/features.py --backbone mobilenet_v2 --weights FILE --data DIR
"""

import argparse
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
from suite.harness import Result, run_script

COST, FACTOR = 10.0, 0.7
"""C, and gamma as a multiple of `scale`: what the search chose on the Venice boats."""

Rows = NDArray[np.float32]


def main() -> None:
    """Extracts, cross-validates, prints a Markdown table and writes the values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="mobilenet_v2", help="a network with .features")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", type=Path, required=True)
    run_script(parser, try_all)


def try_all(options: argparse.Namespace) -> Result:
    """Extracts once, and tries every variant."""
    dataset = scan_dataset(options.data)
    splits = [dataset.splits[name] for name in ("train", "valid")]
    paths = [path for split in splits for path in split.paths]
    targets = np.concatenate([split.targets for split in splits])
    layers = make_layers(options.backbone, options.weights)
    pools = extract(layers, paths)
    folds = make_folds(paths, targets, None, 0)
    rows = list(try_variants(pools, targets, folds))
    rows += try_calibrations(pools["mean"], targets, len(splits[0].paths), paths)
    return Result(to_markdown(rows), {"features": rows, "folds": list(folds.names)})


def make_layers(name: str, weights: str) -> nn.Module:
    """Returns a network up to its last map of features `(1, C, h, w)`.

    Raises:
        UsageError: The network keeps them under another name.
    """
    backbone = build_backbone(name)
    load_weights(backbone, name, weights)
    layers = getattr(backbone, "features", None)
    if layers is None:
        raise UsageError(f"--backbone {name}: has no .features; try mobilenet_v2")
    return layers.eval().to(memory_format=torch.channels_last)


def extract(layers: nn.Module, paths: list[Path]) -> dict[str, Rows]:
    """Pools each photo's map in every way, once as it is and once flipped."""
    torch.set_num_threads(granted_cpus())
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255
    pools: dict[str, list[Rows]] = {}
    photos = decode_images(Preprocessing(240, 800), paths)
    for _, pixels in track(photos, "features", len(paths)):
        image = (torch.tensor(pixels).permute(2, 0, 1)[None].float() - mean) / std
        with torch.inference_mode():
            maps = {"": layers(image), "flipped ": layers(image.flip(3))}
        for prefix, grid in maps.items():
            for name, pool in POOLS.items():
                pools.setdefault(prefix + name, []).append(pool(grid)[0].numpy())
    return {name: np.stack(rows) for name, rows in pools.items()}


def pool_thirds(grid: torch.Tensor) -> torch.Tensor:
    """Returns left, middle and right pooled apart, `(1, 3 * C)`."""
    return nn.functional.adaptive_avg_pool2d(grid, (1, 3)).flatten(1)


POOLS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda grid: grid.mean((2, 3)),
    "max": lambda grid: grid.amax((2, 3)),
    "thirds": pool_thirds,
}


def try_variants(
    pools: dict[str, Rows], targets: NDArray[np.int64], folds: Folds
) -> Iterator[dict[str, Any]]:
    """Yields a row for each variant: mean accuracy over the folds, macro-F1 over all photos."""
    mean, flipped = pools["mean"], pools["flipped mean"]
    joined = np.concatenate([mean, pools["max"]], axis=1)
    variants: dict[str, tuple[Rows, Rows | None]] = {
        "mean-pooled, as boats has them": (mean, None),
        "scaled to length 1": (Normalizer().transform(mean), None),
        "square root": (np.sign(mean) * np.sqrt(np.abs(mean)), None),
        "max-pooled": (pools["max"], None),
        "mean- and max-pooled, scaled to length 1": (Normalizer().transform(joined), None),
        "thirds of the photo pooled apart": (pools["thirds"], None),
        "mean of the photo and its flip": ((mean + flipped) / 2, None),
        "flips as further training photos": (mean, flipped),
    }
    for name, (features, further) in track(variants.items(), "variants", len(variants)):
        predicted = np.empty_like(targets)
        for learned, held in folds.split():
            rows, labels = features[learned], targets[learned]
            if further is not None:
                rows, labels = np.concatenate([rows, further[learned]]), np.tile(labels, 2)
            svc = SVC(C=COST, gamma=FACTOR / (rows.shape[1] * rows.var()), break_ties=True)
            predicted[held] = svc.fit(rows, labels).predict(features[held])
        right = predicted == targets
        means = [float(right[held].mean()) for _, held in folds.split()]
        yield {
            "variant": name,
            "measured_on": folds.kind,
            "accuracy": float(np.mean(means)),
            "macro_f1": float(f1_score(targets, predicted, average="macro", zero_division=0)),
        }


def try_calibrations(
    features: Rows, targets: NDArray[np.int64], count: int, paths: list[Path]
) -> Iterator[dict[str, Any]]:
    """Yields a row for each calibration: learned on the first photos, measured on the others."""
    train, labels, valid = features[:count], targets[:count], features[count:]
    gamma = FACTOR / (train.shape[1] * float(train.var()))
    folds = make_folds(paths[:count], labels, None, 0)
    svc = SVC(C=COST, gamma=gamma, break_ties=True)
    candidate = Candidate("none", gamma, FACTOR, COST, None)
    decisions = CrossValidation(train, labels, folds).compute_decisions(candidate)
    ours = CalibratedSVC(svc.fit(train, labels)).fit(decisions, labels)
    pairs = folds.split_with_all_classes(labels)
    apart = CalibratedClassifierCV(svc, method="sigmoid", cv=pairs, ensemble=False)
    calibrations = {"one slope, an offset a class": ours, "one sigmoid a class, apart": apart}
    apart.fit(train, labels)
    for name, estimator in calibrations.items():
        probabilities = estimator.predict_proba(valid)
        predicted = probabilities.argmax(axis=1)
        yield {
            "variant": f"calibration: {name}",
            "measured_on": "valid",
            "accuracy": float(np.mean(predicted == targets[count:])),
            "macro_f1": float(f1_score(targets[count:], predicted, average="macro")),
            "log_loss": float(log_loss(targets[count:], probabilities, labels=np.unique(labels))),
        }


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the table."""
    lines = [
        "| variant | measured on | accuracy | macro-F1 | log loss |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        loss = f"{row['log_loss']:.3f}" if "log_loss" in row else ""
        lines.append(
            f"| {row['variant']} | {row['measured_on']} | {row['accuracy']:.4f} "
            f"| {row['macro_f1']:.3f} | {loss} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
