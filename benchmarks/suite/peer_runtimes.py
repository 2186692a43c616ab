"""One start of `peers.py`: open every backend, time them in interleaved trials, print JSON.

    python -m suite.peer_runtimes FOLDER --backbone resnet50 --rounds 6 --seed 0

FOLDER contains the result of `write_files`. The memory layout differs between processes and changes
the latency, so `peers.py` starts several.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper

from boats_benchmark.timing import Task, TimingSettings, time_interleaved
from boats_export.opset import IR_VERSION, OPSET
from boats_runtime.classifier import Classifier
from boats_runtime.cpu import granted_cpus
from boats_runtime.model_session import FEATURES, INPUT
from boats_runtime.preprocessing import Preprocessing
from boats_runtime.providers.session import Threads, open_session
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from boats_train.models.sources import BackboneUnavailableError
from suite.searched_model import SearchedModel, read_searched_model
from suite.synthetic_models import (
    PREPROCESSING,
    copy_model,
    count_features,
    draw_images,
    load_networks,
    make_pixels,
    write_model,
)
from suite.synthetic_svm import CLASSES, convert_by_skl2onnx, fit_calibrated_svms

EAGER = "PyTorch eager fp32"
INT8, FP32 = "boats int8", "boats fp32"
SEARCHED = "boats, same accuracy, searched model"
SEARCHED_FILE = f"{SEARCHED}, from a file"
OPENVINO_INT8 = "OpenVINO int8"
FP32_FILE, ULTRALYTICS = "boats fp32, from a file", "Ultralytics fp32, from a file"


def write_files(backbone: str, folder: Path) -> None:
    """Write the files that the backends open: networks with an SVM, and an image."""
    networks = load_networks(backbone)
    network = networks["fp32"]
    for precision in ("fp32", "int8"):
        write_model(networks[precision], folder / f"{precision}.onnx")
    onnx.save(network, folder / "network.onnx")
    onnx.save(add_stock_svm(network), folder / "stock.onnx")
    onnx.save(to_ultralytics(network), folder / "ultralytics.onnx")
    write_searched(read_searched_model(), folder / "searched.onnx")
    draw_images(folder / "images", 1)[0].rename(folder / "image.jpg")


def write_searched(model: SearchedModel, path: Path) -> None:
    """Write the model that a search recommends, unless the code of its backbone is missing."""
    try:
        networks = load_networks(model.backbone, model.preprocessing)
    except BackboneUnavailableError:
        return
    write_model(networks[model.precision], path, model.preprocessing)


def add_stock_svm(network: onnx.ModelProto) -> onnx.ModelProto:
    """Add an SVM converted by skl2onnx's own converters to a network."""
    width = count_features(network)
    _, stock = fit_calibrated_svms(width)
    svm = convert_by_skl2onnx(stock, width)
    model = copy_model(network)
    domains = {opset.domain for opset in model.opset_import}
    model.opset_import.extend(opset for opset in svm.opset_import if opset.domain not in domains)
    model.ir_version = svm.ir_version
    merged: onnx.ModelProto = compose.merge_models(
        model, compose.add_prefix(svm, "stock/"), io_map=[(FEATURES, f"stock/{FEATURES}")]
    )
    return merged


def to_ultralytics(
    network: onnx.ModelProto, preprocessing: Preprocessing = PREPROCESSING, batch: int = 1
) -> onnx.ModelProto:
    """Return the network with the interface of Ultralytics: input in [0, 1], probabilities.

    The classifier is one linear layer, which is faster than an SVM.
    """
    graph = copy_model(network).graph
    _, _, subtract, divide = graph.node[:4]
    subtract.input[0] = "images"
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name in (subtract.input[1], divide.input[1]):
        scaled = numpy_helper.to_array(constants[name]) / np.float32(255)
        constants[name].CopyFrom(numpy_helper.from_array(scaled, name))
    weights = np.zeros((count_features(network), CLASSES), np.float32)
    layer = numpy_helper.from_array(weights, "weights")
    shape = (batch, 3, preprocessing.height, preprocessing.width)
    classifier = helper.make_graph(
        [
            *graph.node[2:],
            helper.make_node("MatMul", [FEATURES, layer.name], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["output0"], axis=1),
        ],
        "ultralytics",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, (batch, CLASSES))],
        [*graph.initializer, layer],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(classifier, opset_imports=[opset], ir_version=IR_VERSION)
    metadata = {
        "task": "classify",
        "stride": "1",
        "batch": str(batch),
        "imgsz": str(list(shape[2:])),
        "names": str({index: f"class {index:02}" for index in range(CLASSES)}),
    }
    helper.set_model_props(model, metadata)
    return model


def open_backends(folder: Path, backbone: str) -> tuple[dict[str, Task], list[str]]:
    """Open all backends, and return a message for each one that is not installed."""
    pixels = make_pixels()
    fp32, int8 = (
        Classifier(folder / f"{precision}.onnx", "cpu", spin=True) for precision in ("fp32", "int8")
    )
    tasks: dict[str, Task] = {
        FP32: partial(fp32.run, pixels),
        FP32_FILE: partial(fp32.predict, folder / "image.jpg"),
        INT8: partial(int8.run, pixels),
    }
    tasks |= open_stock(folder, pixels)
    tasks |= open_torch(backbone, pixels)
    missing: list[str] = []
    if (folder / "searched.onnx").is_file():
        tasks |= open_searched(folder)
    else:
        missing.append(f"the backbone of {SEARCHED} is not installed")
    for name, open_peer in (
        ("OpenVINO", partial(open_openvino, folder, pixels)),
        ("Ultralytics", partial(open_ultralytics, folder)),
    ):
        try:
            tasks |= open_peer()
        except ImportError:
            missing.append(f"{name} is not installed, see requirements/bench.txt")
    torch.set_num_threads(granted_cpus())  # Ultralytics changes it
    return tasks, missing


def open_searched(folder: Path) -> dict[str, Task]:
    """Open the model that a search recommends."""
    classifier = Classifier(folder / "searched.onnx", "cpu", spin=True)
    image = folder / "image.jpg"
    return {
        SEARCHED: partial(classifier.run, classifier.prepare(image)[np.newaxis]),
        SEARCHED_FILE: partial(classifier.predict, image),
    }


def open_stock(folder: Path, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Open the float32 network with the SVM of skl2onnx, and with that of scikit-learn."""
    stock, network = (
        open_session((folder / name).read_bytes(), "cpu", Threads(spin=True)).session
        for name in ("stock.onnx", "network.onnx")
    )
    _, estimator = fit_calibrated_svms(network.get_outputs()[0].shape[1])
    feeds = {INPUT: pixels}

    def run_scikit_learn() -> object:
        return estimator.predict_proba(network.run(None, feeds)[0].astype(np.float64))

    return {
        "ONNX Runtime, SVM of skl2onnx": partial(stock.run, None, feeds),
        "ONNX Runtime, SVM of scikit-learn": run_scikit_learn,
    }


def open_torch(backbone: str, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Open the network in PyTorch: eager, in the layout and type that CPUs prefer, compiled."""

    def build() -> torch.nn.Module:
        return FeatureNetwork(build_backbone(backbone), PREPROCESSING).eval()

    image = torch.from_numpy(pixels)

    def run(network: Callable[[torch.Tensor], Any], bf16: bool = False) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return network(image)

    channels_last = build().to(memory_format=torch.channels_last)
    return {
        EAGER: partial(run, build()),
        "PyTorch channels_last fp32": partial(run, channels_last),
        "PyTorch channels_last bf16": partial(run, channels_last, bf16=True),
        "torch.compile fp32": partial(run, torch.compile(build())),
    }


def open_openvino(folder: Path, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Open the files of boats with OpenVINO.

    Raises:
        ImportError: If OpenVINO is not installed.
    """
    tasks: dict[str, Task] = {}
    for name, file, precision in (
        ("OpenVINO fp32", "fp32", "f32"),
        ("OpenVINO bf16", "fp32", "bf16"),
        (OPENVINO_INT8, "int8", "f32"),
    ):
        request = create_openvino_request(folder / f"{file}.onnx", precision)
        tasks[name] = partial(request.infer, {INPUT: pixels})
    return tasks


def create_openvino_request(path: Path, precision: str, **settings: Any) -> Any:
    """Open a file with OpenVINO on the CPU and return an inference request.

    Args:
        path: ONNX file.
        precision: Precision hint, `f32` or `bf16`.
        settings: Additional settings of OpenVINO.

    Raises:
        ImportError: If OpenVINO is not installed.
    """
    import openvino  # noqa: PLC0415

    core = openvino.Core()
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": granted_cpus(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(path), "CPU", hints | settings)
    return compiled.create_infer_request()


def open_ultralytics(folder: Path) -> dict[str, Task]:
    """Open the network with Ultralytics, which decodes and resizes images itself.

    Raises:
        ImportError: If Ultralytics is not installed.
    """
    model = load_ultralytics(folder / "ultralytics.onnx")
    task = partial(model.predict, folder / "image.jpg", device="cpu", verbose=False)
    task()  # sets the number of threads of PyTorch
    return {ULTRALYTICS: task}


def load_ultralytics(path: Path) -> Any:
    """Open a file with Ultralytics, with all threads.

    Raises:
        ImportError: If Ultralytics is not installed.
    """
    # By default it looks for updates, installs packages and uses one thread.
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    os.environ |= {"YOLO_CONFIG_DIR": str(path.parent), "OMP_NUM_THREADS": str(granted_cpus())}
    from ultralytics import YOLO  # noqa: PLC0415

    return YOLO(path, task="classify")


def main() -> None:
    """Print `values`, durations in nanoseconds by backend, and `missing` as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tasks, missing = open_backends(options.folder, options.backbone)
    settings = TimingSettings(
        3, untimed_calls=1, timed_calls=2, min_rounds=options.rounds, seed=options.seed
    )
    values = time_interleaved(tasks, settings)
    json.dump(
        {"values": {name: times.tolist() for name, times in values.items()}, "missing": missing},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
