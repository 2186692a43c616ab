"""Findings of `boats-doctor`: what this machine can run and what is missing.

Schema of `--json`; its version increases when the meaning of a key changes. Names of keys end with
the unit; null means unknown.

    schema_version   1
    versions         of boats, Python, NumPy and Pillow, and the system
    onnxruntime      wheels: versions of the installed ones; problem: why none can be used; cuda:
                     version that ONNX Runtime was built for; problem and cuda can be empty
    providers        for each name, status: `works`, `refused` or `absent`; detail: the reason, or
                     how to install it; nodes: number run by each provider; first_ms, p50_ms: times
    cuda_libraries   name, found, version of each library that this ONNX Runtime loads
    cpu              model, features, exact_int8, bf16; numbers of CPUs: seen, affinity, quota (null
                     without a limit), granted
    photos           image formats that can be decoded
"""

import importlib.util
import os
import platform
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features

import boats_runtime
from boats_runtime import cpu
from boats_runtime.decoding import FORMATS, HEIF_PLUGIN
from boats_runtime.errors import BoatsError, ProviderError
from boats_runtime.providers.cuda_libraries import Library, find_libraries, get_cuda_version
from boats_runtime.providers.session import PROVIDERS, list_providers, open_session, warm_up
from boats_runtime.providers.wheels import find_wheels, import_onnxruntime

SCHEMA_VERSION = 1

TINY_MODEL = Path(__file__).with_name("doctor.onnx")
"""Written by `scripts/make_doctor_model.py`."""

RUNS = 20
"""Number of timed runs on each provider."""


def examine(model: bytes | None) -> dict[str, Any]:
    """Examine everything that decides what boats can run on this machine.

    Args:
        model: Content of the model that each provider runs; None for a tiny model.

    Returns:
        Findings in the schema of this module.
    """
    problem, cuda = "", ""
    libraries: list[Library] = []
    providers: dict[str, Any] = {}
    try:
        runtime = import_onnxruntime()
    except ProviderError as error:
        problem = str(error)
    else:
        cuda = get_cuda_version(runtime)
        libraries = find_libraries(runtime)
        providers = _try_providers(runtime, model or TINY_MODEL.read_bytes())
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": {
            "boats": boats_runtime.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "onnxruntime": {"wheels": find_wheels(), "problem": problem, "cuda": cuda},
        "providers": providers,
        "cuda_libraries": [asdict(library) for library in libraries],
        "cpu": _examine_cpu(),
        "photos": _find_formats(),
    }


def works(findings: dict[str, Any]) -> bool:
    """Return whether at least one provider works."""
    return any(result["status"] == "works" for result in findings["providers"].values())


def _try_providers(runtime: Any, model: bytes) -> dict[str, Any]:
    available = list_providers(runtime)
    return {
        name: _try_provider(name, model)
        if name in available
        else {"status": "absent", "detail": provider.install}
        for name, provider in PROVIDERS.items()
    }


def _try_provider(name: str, model: bytes) -> dict[str, Any]:
    try:
        active = open_session(model, name)
    except BoatsError as error:
        detail = str(error).removeprefix(f"provider {name} does not run this model: ")
        return {"status": "refused", "detail": detail}
    times = []
    for _ in range(1 + RUNS):
        started = time.perf_counter()
        warm_up(active.session)
        times.append((time.perf_counter() - started) * 1000)
    return {
        "status": "works",
        "detail": "",
        "nodes": dict(active.nodes),
        "first_ms": times[0],
        "p50_ms": statistics.median(times[1:]),
    }


def _examine_cpu() -> dict[str, Any]:
    flags = cpu.cpu_flags()
    return {
        "model": cpu.cpu_model(),
        "features": cpu.cpu_features(flags),
        "exact_int8": cpu.has_dot_products(flags) if flags else None,
        "bf16": cpu.has_bf16(flags) if flags else None,
        "seen": os.cpu_count(),
        "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "quota": cpu.cpu_quota(),
        "granted": cpu.granted_cpus(),
    }


def _find_formats() -> list[str]:
    """Return the formats of boats that this Pillow can decode."""
    codecs = {"JPEG": "jpg", "PNG": "zlib", "WEBP": "webp", "AVIF": "avif"}
    formats = [name for name in FORMATS if features.check(codecs.get(name, "pil"))]
    if importlib.util.find_spec(HEIF_PLUGIN) is not None:
        formats.append("HEIC")
    return formats
