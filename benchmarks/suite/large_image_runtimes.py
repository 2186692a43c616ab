"""One start of `large_images.py`: open every backend, time them in interleaved trials, print JSON.

    python -m suite.large_image_runtimes FOLDER --backbone mobilenet_v2 --size 288x384 --rounds 2

FOLDER contains the result of `write_files`. Every backend classifies the same files, each with as
many threads as its own documentation recommends for a folder of images.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from boats_benchmark.timing import Task, TimingSettings, time_interleaved
from boats_runtime.classifier import Classifier
from boats_runtime.cpu import granted_cpus
from boats_runtime.model_session import CPU_BATCH_SIZE, INPUT
from boats_runtime.prediction import Failure
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.providers.session import Threads, open_session
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from suite.large_images import IMAGES, draw_large_image
from suite.peer_runtimes import load_ultralytics, to_ultralytics
from suite.synthetic_models import load_networks, write_model

INT8, INT8_VERSION_1 = "boats int8", "boats int8, preprocessing version 1"
FP32 = "boats fp32"
OPENCV = "OpenCV + ONNX Runtime int8"
OPENCV_THREADS = "OpenCV in threads + ONNX Runtime int8"
TORCH = "torchvision + PyTorch fp32"
ULTRALYTICS = "Ultralytics fp32"


def write_files(backbone: str, preprocessing: Preprocessing, folder: Path) -> None:
    """Write the files that the backends open: the network, and images of 12 megapixels."""
    networks = load_networks(backbone, preprocessing)
    old = replace(preprocessing, version=1)
    write_model(networks["int8"], folder / "int8.onnx", preprocessing)
    write_model(networks["int8"], folder / "version_1.onnx", old)
    write_model(networks["fp32"], folder / "fp32.onnx", preprocessing)
    model = to_ultralytics(networks["fp32"], preprocessing, IMAGES)
    onnx.save(model, folder / "ultralytics.onnx")
    (folder / "images").mkdir()
    for number in range(IMAGES):
        image = draw_large_image(number)
        image.save(folder / "images" / f"{number}.jpg", quality=90)


def open_backends(
    folder: Path, backbone: str, preprocessing: Preprocessing
) -> tuple[dict[str, Task], list[str]]:
    """Open all backends, and return a message for each one that is not installed."""
    paths = sorted((folder / "images").iterdir())
    tasks: dict[str, Task] = {
        name: partial(run_boats, Classifier(folder / f"{file}.onnx", "cpu"), paths)
        for name, file in ((INT8, "int8"), (INT8_VERSION_1, "version_1"), (FP32, "fp32"))
    }
    tasks[TORCH] = open_torch(backbone, preprocessing, paths)
    missing: list[str] = []
    for name, open_peer in (
        ("OpenCV", partial(open_opencv, folder, preprocessing, paths)),
        ("Ultralytics", partial(open_ultralytics, folder)),
    ):
        try:
            tasks |= open_peer()
        except ImportError:
            missing.append(f"{name} is not installed, see requirements/bench.txt")
    torch.set_num_threads(granted_cpus())  # Ultralytics changes it
    return tasks, missing


def run_boats(classifier: Classifier, paths: list[Path]) -> None:
    """Classify image files as `boats-predict` does."""
    for outcome in classifier.predict_many(paths):
        if isinstance(outcome, Failure):
            raise outcome


def open_opencv(folder: Path, preprocessing: Preprocessing, paths: list[Path]) -> dict[str, Task]:
    """Open the int8 file in a session, with images decoded one by one and in threads by OpenCV.

    Raises:
        ImportError: If OpenCV is not installed.
    """
    import cv2  # noqa: PLC0415

    session = open_session((folder / "int8.onnx").read_bytes(), "cpu", Threads()).session
    size = (preprocessing.width, preprocessing.height)

    def read(path: Path) -> NDArray[np.uint8]:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        pixels: NDArray[np.uint8] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return pixels

    def run_one_by_one() -> None:
        for path in paths:
            session.run(None, {INPUT: read(path)[np.newaxis]})

    def run_in_threads() -> None:
        with ThreadPoolExecutor(granted_cpus()) as pool:
            for batch in _group(pool.map(read, paths), CPU_BATCH_SIZE):
                session.run(None, {INPUT: np.stack(batch)})

    return {OPENCV: run_one_by_one, OPENCV_THREADS: run_in_threads}


class ResizedImages(Dataset[torch.Tensor]):
    """Images decoded by Pillow and resized by torchvision, (3, H, W) uint8."""

    def __init__(self, paths: list[Path], preprocessing: Preprocessing) -> None:
        self._paths = paths
        size = [preprocessing.height, preprocessing.width]
        self._transform = v2.Compose([v2.Resize(size, antialias=True), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self._paths[index]) as image:
            tensor: torch.Tensor = self._transform(image.convert("RGB"))
        return tensor


def open_torch(backbone: str, preprocessing: Preprocessing, paths: list[Path]) -> Task:
    """Open the network in PyTorch, with a process of the data loader for each core."""
    network = FeatureNetwork(build_backbone(backbone), preprocessing).eval()
    network = network.to(memory_format=torch.channels_last)
    loader = DataLoader(
        ResizedImages(paths, preprocessing),
        CPU_BATCH_SIZE,
        num_workers=granted_cpus(),
        persistent_workers=True,
    )

    def run() -> None:
        with torch.inference_mode():
            for images in loader:
                network(images.permute(0, 2, 3, 1))

    return run


def open_ultralytics(folder: Path) -> dict[str, Task]:
    """Open the network with Ultralytics, which decodes batches of 8 or more in threads.

    Raises:
        ImportError: If Ultralytics is not installed.
    """
    model = load_ultralytics(folder / "ultralytics.onnx")
    source = folder / "images"
    task = partial(model.predict, source, batch=IMAGES, device="cpu", verbose=False)
    task()  # sets the number of threads of PyTorch
    return {ULTRALYTICS: task}


def _group(items: Iterator[NDArray[np.uint8]], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def parse_size(text: str) -> Preprocessing:
    """Return the preprocessing for a size such as 288x384."""
    height, width = map(int, text.split("x"))
    return Preprocessing(height, width)


def main() -> None:
    """Print `values`, durations in nanoseconds by backend, and `missing` as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--size", default="288x384")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    preprocessing = parse_size(options.size)
    tasks, missing = open_backends(options.folder, options.backbone, preprocessing)
    settings = TimingSettings(1, min_rounds=options.rounds, seed=options.seed)
    values = time_interleaved(tasks, settings)
    json.dump(
        {"values": {name: times.tolist() for name, times in values.items()}, "missing": missing},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
