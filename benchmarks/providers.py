"""Latency of exported files in fp32, fp16 and int8 on every provider of this machine.

    python benchmarks/providers.py

Interleaved trials at batch size 1, 8 and 64 on accelerators, and 1 and 8 on the CPU. On CUDA, a
file also runs with IO binding (inputs and outputs stay on the device) and as a CUDA graph, next to
PyTorch eager, torch.compile and PyTorch's CUDA graph; TensorRT is included if it is available. The
provider of every node is verified. The table names what this machine does not have.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from boats_benchmark.report import format_markdown
from boats_benchmark.timing import Task, TimingSettings, summarize, time_interleaved
from boats_runtime.classifier import Classifier
from boats_runtime.errors import ProviderError, first_line
from boats_runtime.model_session import INPUT, OUTPUTS
from boats_runtime.providers.session import PROVIDERS
from boats_runtime.providers.wheels import import_onnxruntime
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from suite.harness import ScriptResult, run_script
from suite.synthetic_models import (
    PRECISIONS,
    PREPROCESSING,
    load_networks,
    make_pixels,
    write_model,
)

CPU_BATCHES = (1, 8)
ACCELERATOR_BATCHES = (1, 8, 64)
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}

Key = tuple[str, str, str]
"""Precision, provider, and number of nodes by provider."""


def measure(backbone: str = "resnet50", rounds: int = 5) -> ScriptResult:
    """Time all files on all providers, one batch size after another."""
    networks = load_networks(backbone)
    missing: list[str] = []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        files = {
            precision: write_model(networks[precision], Path(scratch, f"{precision}.onnx"))
            for precision in PRECISIONS
        }
        classifiers = open_all(files, missing)
        for batch in ACCELERATOR_BATCHES:
            pixels = make_pixels(batch)
            tasks: dict[Key, Task] = {}
            for (precision, provider), classifier in classifiers.items():
                if provider == "cpu" and batch not in CPU_BATCHES:
                    continue
                classifier.batch = batch
                nodes = str(dict(classifier.nodes) or "")
                tasks[precision, provider, nodes] = partial(classifier.run, pixels)
                if provider == "cuda":
                    tasks[precision, "cuda, IO binding", ""] = bind_device(classifier, pixels)
                    try:
                        graph = capture_graph(files[precision], pixels)
                        tasks[precision, "cuda, graph", ""] = graph
                    except Exception as error:  # noqa: BLE001
                        missing.append(
                            f"{precision} as a CUDA graph, batch {batch}: {first_line(error)}"
                        )
            if torch.cuda.is_available():
                tasks |= make_torch_tasks(backbone, pixels)
            rows += time_batch(tasks, batch, rounds)
    if not torch.cuda.is_available():
        missing.append("CUDA, IO binding, CUDA graphs, TensorRT: not measured, no such device")
    return ScriptResult(to_markdown(rows, missing), {"providers": rows, "missing": missing})


def open_all(files: dict[str, Path], missing: list[str]) -> dict[tuple[str, str], Classifier]:
    """Open each file on each provider that works, and add a message for each failure."""
    available = import_onnxruntime().get_available_providers()
    classifiers = {}
    for name, provider in PROVIDERS.items():
        if provider.full_name not in available:
            continue
        for precision, path in files.items():
            if name == "cpu" and precision == "fp16":
                continue  # computed in float32, with a cast before and after each node
            try:
                classifiers[precision, name] = Classifier(path, name, spin=True)
            except ProviderError as error:
                missing.append(f"{precision} on {name}: {error}")
    return classifiers


def time_batch(tasks: dict[Key, Task], batch: int, rounds: int) -> list[dict[str, Any]]:
    """Time tasks in interleaved trials and return their rows as JSON values."""
    if not tasks:
        return []
    settings = TimingSettings(2, untimed_calls=1, timed_calls=3, min_rounds=rounds)
    named = {"\t".join(key): task for key, task in tasks.items()}
    rows = []
    for name, values in time_interleaved(named, settings).items():
        times = summarize(values)
        row = dict(zip(("precision", "provider", "nodes"), name.split("\t"), strict=True))
        throughput = batch / times["p50_ms"] * 1000
        rows.append({**row, "batch": batch, "photos_per_second": throughput, **times})
    return rows


def bind_device(classifier: Classifier, pixels: NDArray[np.uint8]) -> Task:
    """Return a function that runs a model with inputs and outputs on the device."""
    session = classifier._session
    runtime = import_onnxruntime()
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT, runtime.OrtValue.ortvalue_from_numpy(pixels, "cuda", 0))
    for name in OUTPUTS:
        binding.bind_output(name, "cuda", 0)
    return partial(run_binding, session, binding)


def capture_graph(path: Path, pixels: NDArray[np.uint8]) -> Task:
    """Return a function that replays the CUDA graph of a file, with arrays at fixed addresses."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    cuda = PROVIDERS["cuda"]
    settings = {**cuda.settings, "enable_cuda_graph": "1"}
    session = runtime.InferenceSession(path, options, providers=[(cuda.full_name, settings)])
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT, runtime.OrtValue.ortvalue_from_numpy(pixels, "cuda", 0))
    for output in session.get_outputs():
        shape, dtype = [len(pixels), *output.shape[1:]], TYPES[output.type]
        value = runtime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cuda", 0)
        binding.bind_ortvalue_output(output.name, value)
    run_binding(session, binding)  # the first run captures the graph
    return partial(run_binding, session, binding)


def run_binding(session: Any, binding: Any) -> None:
    """Run a session with bound inputs and outputs, and wait until it has finished."""
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()


def make_torch_tasks(backbone: str, pixels: NDArray[np.uint8]) -> dict[Key, Task]:
    """Return PyTorch on the GPU: eager, compiled, and float16 as a CUDA graph."""
    network = FeatureNetwork(build_backbone(backbone), PREPROCESSING).eval().cuda()
    images = torch.from_numpy(pixels).cuda()

    def run(model: Callable[[torch.Tensor], Any]) -> None:
        with torch.inference_mode():
            model(images)
        torch.cuda.synchronize()

    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.autocast("cuda", torch.float16):
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(3):
                network(images)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            network(images)

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return {
        ("fp32", "PyTorch eager", ""): partial(run, network),
        ("fp32", "torch.compile", ""): partial(run, torch.compile(network)),
        ("fp16", "PyTorch CUDA graph", ""): replay,
    }


def to_markdown(rows: list[dict[str, Any]], missing: list[str]) -> str:
    """Return the table."""
    cells = [
        [row["precision"], f"{row['provider']} {row['nodes']}", row["batch"]]
        + [f"{row[key]:.1f}" for key in ("p50_ms", "p90_ms", "photos_per_second")]
        for row in rows
    ]
    header = ("precision", "provider", "batch", "p50 ms", "p90 ms", "images/s")
    table = format_markdown(header, cells, text_columns=2)
    return "\n".join([table, *(f"\n{message}." for message in missing)])


if __name__ == "__main__":
    run_script(measure)
