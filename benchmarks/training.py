"""Photos a second of feature extraction against the plain loop, and seconds of a head's training.

The plain loop is what one writes first: PyTorch eager in float32, the default layout, a DataLoader
without workers. Both decode the same files through the one preprocessing, and take turns. The head
learns as `boats-train --model finetune` has it, from as many features as the Venice boats give.

    python benchmarks/training.py --backbone resnet50 --data DIR
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from boats_benchmark.timing import Plan, measure, median_ratio, summarise
from boats_data.synthetic import write_demo_data
from boats_runtime.cpu import granted_cpus
from boats_runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, decode
from boats_train.features.cache import FeatureCache
from boats_train.features.extraction import extract_features
from boats_train.features.inference import InferenceBackend, choose_backend
from boats_train.finetune.linear_head import (
    ArrayDataset,
    HeadSettings,
    single_thread,
    train_in_memory,
)
from boats_train.models.backbone import build_backbone, load_weights
from boats_train.models.feature_network import FeatureNetwork
from suite.harness import Result, run_script, tell

PLAIN_BATCH = 8
HEAD_PHOTOS, HEAD_FEATURES, HEAD_CLASSES = 3474, 2048, 16
HEAD_TURNS = 3
CHUNK = 16
"""Photos a turn."""


class Photos(Dataset[torch.Tensor]):
    """Photos as the plain loop reads them: normalised `(3, H, W) float32`."""

    def __init__(self, paths: list[Path], preprocessing: Preprocessing) -> None:
        self._paths = paths
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = self._preprocessing.apply(decode(self._paths[index])).astype(np.float32) / 255
        return torch.from_numpy(((pixels - MEAN) / STD).transpose(2, 0, 1).copy())


MEAN = np.array(IMAGENET_MEAN, dtype=np.float32)
STD = np.array(IMAGENET_STD, dtype=np.float32)


def run_plain(backbone: torch.nn.Module, preprocessing: Preprocessing, paths: list[Path]) -> None:
    """Extracts features with the plain loop."""
    loader = DataLoader(Photos(paths, preprocessing), batch_size=PLAIN_BATCH, num_workers=0)
    with torch.no_grad():
        for batch in loader:
            backbone(batch)


def run_boats(engine: InferenceBackend, preprocessing: Preprocessing, paths: list[Path]) -> None:
    """Extracts features as `boats-train` does, remembering none."""
    extract_features(engine, preprocessing, paths, FeatureCache(None, ""), "boats")


def main() -> None:
    """Measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--data", type=Path, help="folder of photos; drawn ones without it")
    parser.add_argument("--rounds", type=int, default=6)
    run_script(parser, measure_both)


def measure_both(options: argparse.Namespace) -> Result:
    """Measures the extraction of features, and the training of a head."""
    torch.set_num_threads(granted_cpus())
    with tempfile.TemporaryDirectory() as passing:
        row = compare(
            options.backbone, options.weights, find(options.data, passing), options.rounds
        )
    row |= {"photos": "real" if options.data else "drawn"}
    head = measure({"head": train_head}, Plan(warm_up=1, min_count=HEAD_TURNS, min_seconds=0))
    head_row = summarise(head["head"])
    table = (
        f"{to_markdown(row)}\n\n100 epochs of a head, batch 128, {HEAD_PHOTOS} x {HEAD_FEATURES} "
        f"features: {head_row['p50_ms'] / 1e3:.1f} s (median of {HEAD_TURNS})"
    )
    return Result(table, {"training": row, "head": head_row})


def train_head() -> None:
    """Trains a linear head for 100 epochs on random features, checkpoints and curves included."""
    rng = np.random.default_rng(0)
    labelled = ArrayDataset(
        rng.random((HEAD_PHOTOS, HEAD_FEATURES), dtype=np.float32),
        rng.integers(0, HEAD_CLASSES, HEAD_PHOTOS),
    )
    valid = ArrayDataset(labelled.inputs[:395], labelled.targets[:395])
    with single_thread():
        train_in_memory(
            torch.nn.Linear(HEAD_FEATURES, HEAD_CLASSES),
            labelled,
            valid,
            HeadSettings(1e-4, epochs=100, batch_size=128, seed=0),
        )


def find(data: Path | None, passing: str) -> list[Path]:
    """Finds the photos of a turn, spread over the folder, or draws them."""
    if data is None:
        data = Path(passing) / "drawn"
        write_demo_data(data, counts={"ferry": (CHUNK, 1, 1), "water": (CHUNK, 1, 1)})
    paths = sorted(data.rglob("*.jpg"))
    return [paths[index] for index in np.linspace(0, len(paths) - 1, CHUNK, dtype=int)]


def compare(backbone: str, weights: str, paths: list[Path], rounds: int) -> dict[str, Any]:
    """Measures both on the same photos, in turns."""
    preprocessing = Preprocessing(240, 800)
    plain = build_backbone(backbone)
    load_weights(plain, backbone, weights)
    network = FeatureNetwork(plain, preprocessing)
    probe = np.stack([preprocessing.apply(decode(path)) for path in paths[:4]])
    engine = choose_backend(network, probe)
    tasks = {
        "plain": partial(run_plain, plain, preprocessing, paths),
        "boats": partial(run_boats, engine, preprocessing, paths),
    }
    values = measure(tasks, Plan(warm_up=1, min_count=rounds, min_seconds=0))
    ratio = median_ratio(values["plain"], values["boats"])
    return {
        "backbone": backbone,
        "weights": weights,
        "engine": engine.name,
        "photos_a_turn": len(paths),
        "times": {name: summarise(durations) for name, durations in values.items()},
        "times_faster": ratio.to_json(),
    }


def to_markdown(row: dict[str, Any]) -> str:
    """Returns the table: photos a second from the medians, and their ratio."""
    rates = {
        name: row["photos_a_turn"] / times["p50_ms"] * 1e3 for name, times in row["times"].items()
    }
    return (
        "| network | photos | plain loop, photos/s | boats, photos/s | times (95%) |\n"
        "| --- | --- | ---: | ---: | ---: |\n"
        f"| {row['backbone']}, {row['engine']} | {row['photos']} | {rates['plain']:.2f} "
        f"| {rates['boats']:.2f} | {tell(row['times_faster'])} |"
    )


if __name__ == "__main__":
    main()
