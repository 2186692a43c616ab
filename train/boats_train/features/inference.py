"""How a feature network is run: the quickest way that this device has and that gives its features.

Arithmetic in 16 bits is taken where the device has instructions for it and the features of a few
real photos lie within `TOLERANCE` of float32's. No clock decides, so that the same device chooses
the same way again. What was chosen, and why, is reported.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.optimization import fuse

from boats_train.models.feature_network import FeatureNetwork

TOLERANCE = 0.01
"""Largest distance of a photo's features from those of float32, as a share of their length."""

BATCHES = {"cpu": 1, "cuda": 32}
"""Photos at once, by device. On a CPU more than one costs time: each layer's large output is memory
that the allocator asks the system for anew."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class InferenceBackend:
    """A way to run a feature network.

    Attributes:
        name: `float32` or `bfloat16` on a CPU, `float32` or `amp` on CUDA.
        reason: Why this one, in a few words.
        batch: How many photos to give it at once.
        run: From pixels `(N, H, W, 3) uint8` to features `(N, D) float32`.
    """

    name: str
    reason: str
    batch: int
    run: Callable[[Pixels], NDArray[np.float32]]


def choose_backend(network: FeatureNetwork, probe: Pixels) -> InferenceBackend:
    """Chooses the quickest way to run a network whose features hold.

    Args:
        network: On the device it is to run on.
        probe: A few real photos `(N, H, W, 3) uint8`.
    """
    device = network.mean.device
    batch = BATCHES[device.type]
    plain = _runner(_fused(network), None)
    half = _half_precision(device)
    if half is None:
        return InferenceBackend(
            "float32", "this device has no quick 16-bit arithmetic", batch, plain
        )
    name = "amp" if device.type == "cuda" else "bfloat16"
    quick = _runner(_fused(network), half)
    expected, got = plain(probe), quick(probe)
    norms = np.linalg.norm(expected, axis=1) + 1e-12
    distance = float(np.max(np.linalg.norm(got - expected, axis=1) / norms))
    if not distance <= TOLERANCE:
        reason = f"{name} features are {distance:.1%} off, {TOLERANCE:.0%} is allowed"
        return InferenceBackend("float32", reason, batch, plain)
    return InferenceBackend(
        name, f"its features are within {distance:.2%} of float32", batch, quick
    )


def float32_backend(network: FeatureNetwork) -> InferenceBackend:
    """Returns plain float32, for when features must be those that an exported file gives."""
    batch = BATCHES[network.mean.device.type]
    return InferenceBackend("float32", "asked for", batch, _runner(_fused(network), None))


def _fused(network: FeatureNetwork) -> FeatureNetwork:
    """Copies a network with BatchNorm folded into the convolutions, where it can be traced."""
    copy = deepcopy(network)
    try:
        copy.backbone = fuse(copy.backbone)
    except Exception:  # noqa: BLE001
        copy = deepcopy(network)
    # The pixels come in NHWC, which is this layout already; convolutions are quicker in it.
    return copy.eval().to(memory_format=torch.channels_last)


def _half_precision(device: torch.device) -> torch.dtype | None:
    if device.type == "cuda":
        return torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else None


def _runner(
    network: FeatureNetwork, half: torch.dtype | None
) -> Callable[[Pixels], NDArray[np.float32]]:
    device = network.mean.device

    def run(pixels: Pixels) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(device.type, half, enabled=half is not None):
            features = network(torch.from_numpy(pixels).to(device))
        values: NDArray[np.float32] = features.float().cpu().numpy()
        return values

    return run
