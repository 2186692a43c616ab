"""Accuracy of the linear head by learning rate, with held-out groups as in `boats-train`.

    python benchmarks/learning_rates.py DIR --backbone mobilenet_v2 --weights FILE

The images of train and valid are held out group by group (day by day for the Venice boats). The
features are read from the cache of `boats-train` where they are in it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from boats_data.dataset import scan_dataset
from boats_metrics.classification import compute_metrics
from boats_runtime.preprocessing import Preprocessing
from boats_train.features.cache import FeatureCache, default_folder, network_key
from boats_train.features.extraction import extract_features
from boats_train.features.inference import float32_backend
from boats_train.finetune.linear_head import (
    ArrayDataset,
    HeadSettings,
    single_thread,
    train_in_memory,
)
from boats_train.models.backbone import build_backbone, load_weights
from boats_train.models.feature_network import FeatureNetwork
from boats_train.svm.folds import make_folds

LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1)
EPOCHS, BATCH_SIZE, SEED = 100, 128, 0


def main() -> None:
    """Extract the features once, cross-validate each learning rate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--cache", type=Path, default=default_folder())
    arguments = parser.parse_args()
    dataset = scan_dataset(arguments.data)
    splits = [dataset.splits[name] for name in ("train", "valid")]
    backbone = build_backbone(arguments.backbone)
    load_weights(backbone, arguments.backbone, arguments.weights)
    preprocessing = Preprocessing(240, 800)
    network = FeatureNetwork(backbone, preprocessing)
    cache = FeatureCache(arguments.cache, network_key(network, preprocessing, "float32"))
    paths = [path for split in splits for path in split.paths]
    extracted = extract_features(float32_backend(network), preprocessing, paths, cache, "images")
    targets = np.concatenate([split.targets for split in splits])[extracted.indices]
    folds = make_folds([paths[index] for index in extracted.indices], targets, None, SEED)
    print(
        f"{len(targets)} images, {extracted.cached} cached, {folds.kind}: {len(folds.names)} folds"
    )
    print("\n| learning rate | accuracy | macro-F1 |\n| --- | ---: | ---: |", flush=True)
    for rate in LEARNING_RATES:
        predicted = np.empty_like(targets)
        for train, held_out in folds.split():
            data = [
                ArrayDataset(extracted.values[part], targets[part]) for part in (train, held_out)
            ]
            torch.manual_seed(SEED)
            layer = nn.Linear(extracted.values.shape[1], len(dataset.classes))
            with single_thread():
                train_in_memory(layer, *data, HeadSettings(rate, EPOCHS, BATCH_SIZE, SEED))
            with torch.inference_mode():
                predicted[held_out] = layer(torch.from_numpy(data[1].inputs)).argmax(1).numpy()
        metrics = compute_metrics(targets, predicted, dataset.classes)
        print(f"| {rate:g} | {metrics.accuracy:.4f} | {metrics.macro_f1:.3f} |", flush=True)


if __name__ == "__main__":
    main()
