"""boats' exported files on every provider of this machine, side by side: fp32, fp16 and int8.

    python benchmarks/providers.py

Each file on each provider at batch 1, 8 and 64 on an accelerator, 1 and 8 on the CPU, in turns. On
CUDA a file also runs with IO binding (photos and answers stay on the device) and as a CUDA graph,
beside PyTorch eager, torch.compile and PyTorch's CUDA graph; TensorRT where it is there. Every
session is proved by where its nodes run. What this machine lacks stands there as not measured.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from boats_benchmark.timing import Plan, measure, summarise
from boats_runtime.classifier import INPUT, OUTPUTS, Classifier
from boats_runtime.errors import ProviderError, first_line
from boats_runtime.providers.session import PROVIDERS
from boats_runtime.providers.wheels import import_onnxruntime
from boats_train.models.backbone import build_backbone
from boats_train.models.feature_network import FeatureNetwork
from suite.harness import Result, run_script
from suite.synthetic_models import PREPROCESSING, make_file, make_networks, make_pixels

PRECISIONS = ("fp32", "fp16", "int8")
BATCHES = {"cpu": (1, 8)}
ACCELERATOR_BATCHES = (1, 8, 64)
TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}

Task = Callable[[], object]


def main() -> None:
    """Measures, prints a Markdown table and writes the raw values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=5)
    run_script(parser, tell)


def tell(options: argparse.Namespace) -> Result:
    """Measures, and makes the table."""
    rows, missing = compare(options.backbone, options.rounds)
    return Result(to_markdown(rows, missing), {"providers": rows, "missing": missing})


def compare(backbone: str, rounds: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Measures all files on all providers, batch by batch."""
    networks = make_networks(backbone)
    missing: list[str] = []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as passing:
        files = {
            name: make_file(networks[name], Path(passing) / f"{name}.onnx") for name in PRECISIONS
        }
        opened = open_all(files, missing)
        for batch in sorted({*BATCHES["cpu"], *ACCELERATOR_BATCHES}):
            pixels = make_pixels(batch)
            tasks: dict[tuple[str, str, str], Task] = {}
            for (precision, provider), classifier in opened.items():
                if batch in BATCHES.get(provider, ACCELERATOR_BATCHES):
                    classifier.batch = batch
                    run = partial(classifier.run, pixels)
                    tasks[precision, provider, str(dict(classifier.nodes) or "")] = run
                    if provider == "cuda":
                        tasks[precision, "cuda, IO binding", ""] = bind(classifier, pixels)
                        try:
                            tasks[precision, "cuda, graph", ""] = capture(files[precision], pixels)
                        except Exception as error:  # noqa: BLE001
                            told = f"{precision} as a CUDA graph, batch {batch}"
                            missing.append(f"{told}: {first_line(error)}")
            if torch.cuda.is_available():
                tasks |= make_torch(backbone, pixels)
            if tasks:
                plan = Plan(warm_up=2, settle=1, turn=3, min_count=rounds, min_seconds=0)
                named = {"\t".join(key): task for key, task in tasks.items()}
                for name, times in measure(named, plan).items():
                    rows.append(describe(name, batch, summarise(times)))
    if not torch.cuda.is_available():
        missing.append("CUDA, IO binding, CUDA graphs, TensorRT: not measured, no such device here")
    return rows, missing


def open_all(files: dict[str, Path], missing: list[str]) -> dict[tuple[str, str], Classifier]:
    """Opens each file on each provider that this ONNX Runtime has and that works."""
    there = import_onnxruntime().get_available_providers()
    opened = {}
    for provider, kind in PROVIDERS.items():
        if kind.full_name not in there:
            continue
        for precision, path in files.items():
            if provider == "cpu" and precision == "fp16":
                continue  # computed in float32 with a cast around each node
            try:
                opened[precision, provider] = Classifier(path, provider, spin=True)
            except ProviderError as error:
                missing.append(f"{precision} on {provider}: {error}")
    return opened


def bind(classifier: Classifier, pixels: NDArray[np.uint8]) -> Task:
    """Returns runs whose photos and answers stay on the device, waited for."""
    session = classifier._session
    runtime = import_onnxruntime()
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT, runtime.OrtValue.ortvalue_from_numpy(pixels, "cuda", 0))
    for name in OUTPUTS:
        binding.bind_output(name, "cuda", 0)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def capture(path: Path, pixels: NDArray[np.uint8]) -> Task:
    """Returns replays of a file's CUDA graph, which wants every array at a fixed place."""
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    kind = PROVIDERS["cuda"]
    settings = {**kind.settings, "enable_cuda_graph": "1"}
    session = runtime.InferenceSession(path, options, providers=[(kind.full_name, settings)])
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT, runtime.OrtValue.ortvalue_from_numpy(pixels, "cuda", 0))
    for output in session.get_outputs():
        shape = [len(pixels), *output.shape[1:]]
        dtype = TYPES[output.type]
        place = runtime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cuda", 0)
        binding.bind_ortvalue_output(output.name, place)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    run()  # the first run captures
    return run


def make_torch(backbone: str, pixels: NDArray[np.uint8]) -> dict[tuple[str, str, str], Task]:
    """Returns PyTorch's runs on the GPU: eager, compiled, and fp16 as a CUDA graph."""
    network = FeatureNetwork(build_backbone(backbone), PREPROCESSING).eval().cuda()
    photo = torch.from_numpy(pixels).cuda()

    def run(model: Callable[[torch.Tensor], Any]) -> None:
        with torch.inference_mode():
            model(photo)
        torch.cuda.synchronize()

    half = torch.autocast("cuda", torch.float16)
    stream = torch.cuda.Stream()
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), half:
        with torch.cuda.stream(stream):
            for _ in range(3):
                network(photo)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            network(photo)

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return {
        ("fp32", "PyTorch eager", ""): partial(run, network),
        ("fp32", "torch.compile", ""): partial(run, torch.compile(network)),
        ("fp16", "PyTorch CUDA graph", ""): replay,
    }


def describe(name: str, batch: int, times: dict[str, Any]) -> dict[str, Any]:
    """Returns a row: what ran where, and its times."""
    precision, provider, nodes = name.split("\t")
    rate = batch / times["p50_ms"] * 1000
    known = {"precision": precision, "provider": provider, "nodes": nodes, "batch": batch}
    return known | {"photos_per_second": rate} | times


def to_markdown(rows: list[dict[str, Any]], missing: list[str]) -> str:
    """Returns the table."""
    lines = [
        "| precision | provider | batch | p50 ms | p90 ms | photos/s |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines.extend(
        f"| {row['precision']} | {row['provider']} {row['nodes']} | {row['batch']} "
        f"| {row['p50_ms']:.1f} | {row['p90_ms']:.1f} | {row['photos_per_second']:.1f} |"
        for row in rows
    )
    lines.extend(f"\n{text}." for text in missing)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
