"""Inference backends of a feature network: float32, or 16-bit arithmetic if it is accurate.

16-bit arithmetic is used if the device has instructions for it and the features of a few images are
within `TOLERANCE` of the float32 features. The choice does not depend on timing, so a device always
chooses the same backend.
"""

import contextlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.optimization import fuse

from boats_train.models.feature_network import FeatureNetwork

TOLERANCE = 0.01
"""Largest distance from the float32 features, relative to their norm."""

BATCH_SIZES = {"cpu": 1, "cuda": 32}
"""Batch size by device. Larger batches are slower on a CPU: the outputs of the layers exceed the
size up to which the allocator reuses memory."""

FeatureFunction = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Function from pixels, (N, H, W, 3) uint8, to features, (N, D) float32."""


@dataclass(frozen=True)
class InferenceBackend:
    """A way to run a feature network: `float32`, `bfloat16` on a CPU, or `amp` on CUDA."""

    name: str
    reason: str
    batch_size: int
    run: FeatureFunction


def choose_backend(network: FeatureNetwork, probe: NDArray[np.uint8]) -> InferenceBackend:
    """Choose the fastest backend whose features are accurate.

    Args:
        network: Feature network on the device to use.
        probe: (N, H, W, 3) uint8, a few images of the dataset.
    """
    device = network.mean.device
    float32 = float32_backend(network)
    dtype = _find_16_bit_type(device)
    if dtype is None:
        return replace(float32, reason="this device has no fast 16-bit arithmetic")
    name = "amp" if device.type == "cuda" else "bfloat16"
    run = _make_run(network, dtype)
    expected, features = float32.run(probe), run(probe)
    norms = np.linalg.norm(expected, axis=1) + 1e-12
    distance = float(np.max(np.linalg.norm(features - expected, axis=1) / norms))
    if not distance <= TOLERANCE:
        reason = f"{name} features differ by {distance:.1%}, more than {TOLERANCE:.0%}"
        return replace(float32, reason=reason)
    reason = f"features within {distance:.2%} of float32"
    return InferenceBackend(name, reason, float32.batch_size, run)


def float32_backend(network: FeatureNetwork) -> InferenceBackend:
    """Return the float32 backend, whose features match those of an exported model."""
    batch_size = BATCH_SIZES[network.mean.device.type]
    return InferenceBackend("float32", "required", batch_size, _make_run(network, None))


def _find_16_bit_type(device: torch.device) -> torch.dtype | None:
    if device.type == "cuda":
        return torch.float16
    is_native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if is_native else None


def _make_run(network: FeatureNetwork, dtype: torch.dtype | None) -> FeatureFunction:
    network = deepcopy(network)
    with contextlib.suppress(Exception):  # some backbones cannot be traced
        network.backbone = fuse(network.backbone)  # folds BatchNorm into the convolutions
    # The pixels are NHWC, which is this memory format; convolutions are faster in it.
    network.eval().to(memory_format=torch.channels_last)
    device = network.mean.device

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            features = network(torch.from_numpy(pixels).to(device))
        return np.asarray(features.float().cpu().numpy())

    return run
