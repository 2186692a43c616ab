"""What this machine can run, and what keeps it from running more: the findings of `boats-doctor`.

The schema of `--json`; its version rises when a key changes its meaning. Sizes are in the unit that
a key names; null stands where nobody can say.

    schema_version   1
    versions         of boats, Python, NumPy and Pillow, and the system
    onnxruntime      wheels: those installed, each with its version; problem: why none can be used,
                     else empty; cuda: what it was built for, else empty
    providers        for each name, status: `works`, `refused` or `absent`; detail: why, or what
                     brings it; nodes: how many each provider ran; first_ms, p50_ms: of the runs
    cuda_libraries   name, found, version of each that this ONNX Runtime loads
    cpu              model, features, exact_int8, bf16; CPUs: seen, affinity, quota (null where
                     there is none), granted
    photos           the formats that can be decoded
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
from boats_runtime.errors import BoatsError, ProviderError
from boats_runtime.preprocessing import FORMATS, HEIF_PLUGIN
from boats_runtime.providers.cuda_libraries import expected_cuda, find_libraries
from boats_runtime.providers.session import PROVIDERS, list_providers, open_session, warm_up
from boats_runtime.providers.wheels import import_onnxruntime, installed_wheels

SCHEMA_VERSION = 1

TINY_MODEL = Path(__file__).with_name("doctor.onnx")
"""Made by `scripts/make_doctor_model.py`."""

RUNS = 20
"""Timed runs on each provider."""


def examine(model: bytes | None) -> dict[str, Any]:
    """Looks at everything that decides what boats can run here.

    Args:
        model: The content of a model to try on each provider; None for a tiny one.

    Returns:
        The findings, in the schema above.
    """
    problem, built_for, libraries = "", "", []
    tried: dict[str, Any] = {}
    try:
        runtime = import_onnxruntime()
    except ProviderError as error:
        problem = str(error)
    else:
        built_for = expected_cuda(runtime)
        libraries = find_libraries(runtime)
        content = TINY_MODEL.read_bytes() if model is None else model
        tried = _try_providers(runtime, content)
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": {
            "boats": boats_runtime.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "onnxruntime": {"wheels": installed_wheels(), "problem": problem, "cuda": built_for},
        "providers": tried,
        "cuda_libraries": [asdict(library) for library in libraries],
        "cpu": _examine_cpu(),
        "photos": _find_formats(),
    }


def works(findings: dict[str, Any]) -> bool:
    """Says whether at least one provider works."""
    return any(one["status"] == "works" for one in findings["providers"].values())


def _try_providers(runtime: Any, model: bytes) -> dict[str, Any]:
    there = list_providers(runtime)
    return {
        name: _try_provider(name, model)
        if name in there
        else {"status": "absent", "detail": kind.install}
        for name, kind in PROVIDERS.items()
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
    """Returns the formats that this Pillow decodes, of those that boats opens."""
    codecs = {"JPEG": "jpg", "PNG": "zlib", "WEBP": "webp", "AVIF": "avif"}
    there = [name for name in FORMATS if features.check(codecs.get(name, "pil"))]
    return there + ["HEIC"] * (importlib.util.find_spec(HEIF_PLUGIN) is not None)
