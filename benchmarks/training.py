"""Throughput of feature extraction next to a plain PyTorch loop, and training time of a head.

    python benchmarks/training.py --backbone resnet50 --data DIR

The plain loop uses PyTorch eager in float32, the default memory layout, and a DataLoader without
workers. Both decode the same files with the same preprocessing, in interleaved trials. The head is
trained as by `boats-train --model finetune`, on as many features as the Venice boats have.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import Estimate, TimingSettings, compare
from boats_data.synthetic import write_demo_data
from boats_runtime.cpu import granted_cpus
from boats_runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD
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
from suite.harness import ScriptResult, run_script
from suite.synthetic_models import PREPROCESSING

MEAN = np.array(IMAGENET_MEAN, dtype=np.float32)
STD = np.array(IMAGENET_STD, dtype=np.float32)
PLAIN_BATCH = 8

IMAGES = 16
"""Number of images in a trial."""

HEAD_IMAGES, HEAD_FEATURES, HEAD_CLASSES = 3474, 2048, 16
HEAD_ROUNDS = 3


def measure(
    backbone: str = "resnet50", weights: str = "none", data: str = "", rounds: int = 6
) -> ScriptResult:
    """Time the extraction of features, and the training of a head.

    Args:
        backbone: Name of the network.
        weights: File of its weights, or `none`.
        data: Folder of images; empty for synthetic ones.
        rounds: Number of rounds of the extraction.
    """
    torch.set_num_threads(granted_cpus())
    network = build_backbone(backbone)
    load_weights(network, backbone, weights)
    with tempfile.TemporaryDirectory() as scratch:
        paths = find_images(data, Path(scratch))
        pixels = np.stack([PREPROCESSING.read(path) for path in paths[:4]])
        backend = choose_backend(FeatureNetwork(network, PREPROCESSING), pixels)
        tasks = {
            "plain": partial(run_plain, network, paths),
            "boats": partial(run_boats, backend, paths),
        }
        ratios = {"times_faster": ("plain", "boats")}
        timings = compare(tasks, TimingSettings(1, min_rounds=rounds), ratios)
    row = {
        "backbone": backbone,
        "weights": weights,
        "engine": backend.name,
        "photos_a_turn": IMAGES,
        **timings,
        "photos": "real" if data else "drawn",
    }
    head_settings = TimingSettings(1, min_rounds=HEAD_ROUNDS)
    head = compare({"head": train_head}, head_settings, {})["times"]["head"]
    plain, boats = (
        f"{IMAGES / timings['times'][name]['p50_ms'] * 1e3:.2f}" for name in ("plain", "boats")
    )
    cells = (
        f"{backbone}, {backend.name}", "real" if data else "synthetic", plain, boats,
        Estimate(*timings["times_faster"]).format(),
    )  # fmt: skip
    header = ("network", "images", "plain loop, images/s", "boats, images/s", "speedup (95%)")
    table = (
        f"{format_markdown(header, [cells], text_columns=2)}\n\n"
        f"100 epochs of a head, batch size 128, {HEAD_IMAGES} x {HEAD_FEATURES} features: "
        f"{head['p50_ms'] / 1e3:.1f} s (median of {HEAD_ROUNDS})"
    )
    return ScriptResult(table, {"training": row, "head": head})


def find_images(data: str, scratch: Path) -> list[Path]:
    """Return `IMAGES` images at equal distances in a folder, or synthetic ones."""
    folder = Path(data) if data else scratch / "images"
    if not data:
        write_demo_data(folder, counts={"ferry": (IMAGES, 1, 1), "water": (IMAGES, 1, 1)})
    paths = sorted(folder.rglob("*.jpg"))
    return [paths[index] for index in np.linspace(0, len(paths) - 1, IMAGES, dtype=int)]


class NormalizedImages(Dataset[torch.Tensor]):
    """Inputs of the plain loop, (3, H, W) float32."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = PREPROCESSING.read(self._paths[index]).astype(np.float32) / 255
        return torch.from_numpy(((pixels - MEAN) / STD).transpose(2, 0, 1).copy())


def run_plain(network: torch.nn.Module, paths: list[Path]) -> None:
    """Extract features with the plain loop."""
    loader = DataLoader(NormalizedImages(paths), batch_size=PLAIN_BATCH, num_workers=0)
    with torch.no_grad():
        for batch in loader:
            network(batch)


def run_boats(backend: InferenceBackend, paths: list[Path]) -> None:
    """Extract features as `boats-train` does, without its cache."""
    extract_features(backend, PREPROCESSING, paths, FeatureCache(None, ""), "boats")


def train_head() -> None:
    """Train a linear head for 100 epochs on random features."""
    rng = np.random.default_rng(0)
    train = ArrayDataset(
        rng.random((HEAD_IMAGES, HEAD_FEATURES), dtype=np.float32),
        rng.integers(0, HEAD_CLASSES, HEAD_IMAGES),
    )
    valid = ArrayDataset(train.inputs[:395], train.targets[:395])
    settings = HeadSettings(1e-4, epochs=100, batch_size=128, seed=0)
    with single_thread():
        train_in_memory(torch.nn.Linear(HEAD_FEATURES, HEAD_CLASSES), train, valid, settings)


if __name__ == "__main__":
    run_script(measure)
