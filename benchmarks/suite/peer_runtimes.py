"""One start of what `peers.py` compares: opens every side, times them in turns, prints JSON.

    python benchmarks/sides.py FOLDER --backbone resnet50 --rounds 6 --seed 0

FOLDER holds what `write_files` wrote. A process of its own: where memory lies, and so how long a
run takes, differs from start to start, and several of them show by how much.
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

from boats_benchmark.timing import Plan, measure
from boats_export.opset import IR_VERSION, OPSET
from boats_runtime.classifier import FEATURES, INPUT, Classifier
from boats_runtime.cpu import granted_cpus
from boats_runtime.providers.session import Threads, open_session
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from suite.synthetic_models import (
    PREPROCESSING,
    count_features,
    draw_photos,
    make_file,
    make_networks,
    make_pixels,
)
from svm_graph import CLASSES, convert_by_skl2onnx, fit

EAGER = "PyTorch eager fp32"
INT8, FP32 = "boats int8", "boats fp32"
OPENVINO_INT8 = "OpenVINO int8"
WHOLE, ULTRALYTICS = "boats fp32, from a file", "Ultralytics fp32, from a file"

Task = Callable[[], object]


def write_files(backbone: str, folder: Path) -> None:
    """Writes the files that the sides open: networks with an SVM, and a photo."""
    networks = make_networks(backbone)
    network = networks["fp32"]
    for name in ("fp32", "int8"):
        make_file(networks[name], folder / f"{name}.onnx")
    onnx.save(network, folder / "network.onnx")
    onnx.save(add_stock_svm(network), folder / "stock.onnx")
    onnx.save(to_ultralytics(network), folder / "ultralytics.onnx")
    draw_photos(folder / "drawn", 1)[0].rename(folder / "photo.jpg")


def add_stock_svm(network: onnx.ModelProto) -> onnx.ModelProto:
    """Adds an SVM as skl2onnx converts it by itself."""
    whole = onnx.ModelProto()
    whole.CopyFrom(network)
    width = count_features(network)
    head = onnx.load_model_from_string(convert_by_skl2onnx(fit(width)[0], width))
    known = {one.domain for one in whole.opset_import}
    whole.opset_import.extend(one for one in head.opset_import if one.domain not in known)
    whole.ir_version = head.ir_version
    head = compose.add_prefix(head, "stock/")
    merged: onnx.ModelProto = compose.merge_models(
        whole, head, io_map=[(FEATURES, f"stock/{FEATURES}")]
    )
    return merged


def to_ultralytics(network: onnx.ModelProto) -> onnx.ModelProto:
    """Makes the network one that Ultralytics takes: levels of 0 to 1 in, probabilities out.

    Its head is one linear layer, which costs less than an SVM.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph = model.graph
    width = count_features(network)
    *_, subtract, _ = graph.node[:4]
    subtract.input[0] = "images"
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name in (subtract.input[1], graph.node[3].input[1]):
        levels = numpy_helper.to_array(constants[name]) / np.float32(255)
        constants[name].CopyFrom(numpy_helper.from_array(levels, name))
    head = numpy_helper.from_array(np.zeros((width, CLASSES), np.float32), "head")
    nodes = [
        *graph.node[2:],
        helper.make_node("MatMul", [FEATURES, head.name], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["output0"], axis=1),
    ]
    shape = (1, 3, PREPROCESSING.height, PREPROCESSING.width)
    whole = helper.make_graph(
        nodes,
        "ultralytics",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, (1, CLASSES))],
        [*graph.initializer, head],
    )
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR_VERSION
    names = {number: f"class {number:02}" for number in range(CLASSES)}
    told = {"task": "classify", "stride": 1, "batch": 1, "imgsz": list(shape[2:]), "names": names}
    helper.set_model_props(made, {key: str(value) for key, value in told.items()})
    return made


def open_sides(folder: Path, backbone: str) -> tuple[dict[str, Task], list[str]]:
    """Opens all sides, and says which are missing."""
    pixels = make_pixels()
    tasks: dict[str, Task] = {}
    for name, precision in ((FP32, "fp32"), (INT8, "int8")):
        classifier = Classifier(folder / f"{precision}.onnx", "cpu", spin=True)
        tasks[name] = partial(classifier.run, pixels)
        if name == FP32:
            tasks[WHOLE] = partial(classifier.predict, folder / "photo.jpg")
    tasks |= open_stock(folder, pixels)
    tasks |= open_torch(backbone, pixels)
    missing: list[str] = []
    for name, opener in (
        ("OpenVINO", partial(open_openvino, folder, pixels)),
        ("Ultralytics", partial(open_ultralytics, folder)),
    ):
        try:
            tasks |= opener()
        except ImportError:
            missing.append(f"{name} is not installed: requirements/bench.txt has it")
    torch.set_num_threads(granted_cpus())
    return tasks, missing


def open_stock(folder: Path, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Opens the float32 network with the SVM of skl2onnx, and of scikit-learn."""
    stock, network = (
        open_session((folder / name).read_bytes(), "cpu", Threads(spin=True)).session
        for name in ("stock.onnx", "network.onnx")
    )
    _, estimator = fit(network.get_outputs()[0].shape[1])
    feeds = {INPUT: pixels}

    def by_scikit_learn() -> object:
        return estimator.predict_proba(network.run(None, feeds)[0].astype(np.float64))

    return {
        "ONNX Runtime, SVM of skl2onnx": partial(stock.run, None, feeds),
        "ONNX Runtime, SVM of scikit-learn": by_scikit_learn,
    }


def open_torch(backbone: str, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Makes PyTorch's sides: as it comes, in the layout and the type that CPUs prefer, compiled."""

    def network() -> torch.nn.Module:
        return FeatureNetwork(build_backbone(backbone), PREPROCESSING).eval()

    plain, ordered = network(), network().to(memory_format=torch.channels_last)
    photo = torch.from_numpy(pixels)

    def run(model: Callable[[torch.Tensor], Any], half: bool = False) -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return model(photo)

    return {
        EAGER: partial(run, plain),
        "PyTorch channels_last fp32": partial(run, ordered),
        "PyTorch channels_last bf16": partial(run, ordered, half=True),
        "torch.compile fp32": partial(run, torch.compile(network())),
    }


def open_openvino(folder: Path, pixels: NDArray[np.uint8]) -> dict[str, Task]:
    """Opens boats' own files with OpenVINO.

    Raises:
        ImportError: It is not installed.
    """
    tasks: dict[str, Task] = {}
    for name, file, precision in (
        ("OpenVINO fp32", "fp32", "f32"),
        ("OpenVINO bf16", "fp32", "bf16"),
        (OPENVINO_INT8, "int8", "f32"),
    ):
        request = request_openvino(folder / f"{file}.onnx", precision)
        tasks[name] = partial(request.infer, {INPUT: pixels})
    return tasks


def request_openvino(path: Path, precision: str, **more: Any) -> Any:
    """Opens a file with OpenVINO on the CPU, ready to infer one photo after the other.

    Args:
        path: The file.
        precision: The hint it is given: `f32` or `bf16`.
        more: Further settings, by OpenVINO's names.

    Raises:
        ImportError: It is not installed.
    """
    import openvino  # noqa: PLC0415

    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": granted_cpus(),
        "PERFORMANCE_HINT": "LATENCY",
        **more,
    }
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()


def open_ultralytics(folder: Path) -> dict[str, Task]:
    """Opens the network with Ultralytics, which decodes and resizes by itself.

    Raises:
        ImportError: It is not installed.
    """
    # It would ask the network for updates, install what it misses, and leave one thread to all.
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    os.environ |= {"YOLO_CONFIG_DIR": str(folder), "OMP_NUM_THREADS": str(granted_cpus())}
    from ultralytics import YOLO  # noqa: PLC0415

    model = YOLO(folder / "ultralytics.onnx", task="classify")
    task = partial(model.predict, folder / "photo.jpg", device="cpu", verbose=False)
    task()  # here it sets PyTorch's threads
    return {ULTRALYTICS: task}


def main() -> None:
    """Measures, and prints `values` in nanoseconds by side, and what is `missing`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tasks, missing = open_sides(options.folder, options.backbone)
    plan = Plan(3, settle=1, turn=2, min_count=options.rounds, min_seconds=0, seed=options.seed)
    values = {name: times.tolist() for name, times in measure(tasks, plan).items()}
    json.dump({"values": values, "missing": missing}, sys.stdout)


if __name__ == "__main__":
    main()
