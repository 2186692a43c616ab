"""Feature network in 8 bits: static quantization, and a search for settings that keep its features.

Weights are quantized per channel, activations to the ranges they take on real images (QDQ format,
Jacob et al. 2018, https://arxiv.org/abs/1712.05877). The search covers the calibration method and
the layers that stay in float. Settings are ranked by the change of the features of other images,
which needs no labels and therefore does not bias the accuracy check.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from boats_export.opset import set_versions
from boats_export.verification_images import Pixels, VerificationImages
from boats_export.verify import compute_onnx_features
from boats_runtime.cpu import cpu_flags, has_dot_products
from boats_runtime.errors import DataError
from boats_runtime.model_session import INPUT
from boats_runtime.progress import track

CALIBRATION_IMAGES = 48
"""Images that determine the ranges of activations."""

HISTOGRAM_IMAGES = 16
"""Calibration images for the slow methods, which look at every value."""

PROBE_IMAGES = 32
"""Further images, on which settings are ranked."""

MIN_IMAGES = 8
"""Smallest number of images for calibration and probes together."""

METHODS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "averaged minmax": (CalibrationMethod.MinMax, {"CalibMovingAverage": True}),
    "percentile 99.99": (CalibrationMethod.Percentile, {"CalibPercentile": 99.99}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
"""Calibration methods of ONNX Runtime and their options."""

OPERATORS = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Gemm", "GlobalAveragePool", "MatMul",
    "MaxPool", "Mul", "Relu", "Sigmoid",
)  # fmt: skip
"""Quantized operators: those with 8-bit kernels in ONNX Runtime. The normalization of the image and
the normalization layers of the network stay in float."""

LAYER_GROUPS = 8
"""Groups of consecutive layers that are tried in float, one at a time."""

FLOAT_GROUPS = (1, 2, 4)
"""Numbers of the most sensitive groups that are tried in float together."""


@dataclass(frozen=True)
class Setting:
    """Quantization setting.

    Attributes:
        method: Key of `METHODS`.
        target: `vnni` for CPUs with exact sums of 8-bit products; `any` for all CPUs, with one bit
            less in the weights.
        float_layers: Names of the layers that stay in float.
    """

    method: str
    target: str
    float_layers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the setting as JSON values, under the names in the file's provenance."""
        return {"method": self.method, "target": self.target, "floats": list(self.float_layers)}


@dataclass(frozen=True)
class QuantizedNetwork:
    """Quantized network.

    Attributes:
        model: Model from `image` to `features`.
        setting: Setting it was quantized with.
        distance: Mean over the probe images of the distance of its features to those of the
            float network, relative to their length.
    """

    model: onnx.ModelProto
    setting: Setting
    distance: float


def resolve_target(target: str) -> str:
    """Return `vnni` or `any`; for `auto`, the one that suits the CPU of this machine."""
    if target != "auto":
        return target
    return "vnni" if has_dot_products(cpu_flags()) else "any"


def select_balanced(targets: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Select images from the classes in turn, so that rare classes are included.

    Args:
        targets: (N,) int64, class indices.
        count: Largest number of images.
        seed: Seed for the selection.

    Returns:
        Indices of the images, with the classes in turn.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    rank = np.empty(len(targets), dtype=np.int64)  # of an image in its class
    for label in np.unique(targets):
        positions = np.flatnonzero(targets[order] == label)
        rank[positions] = np.arange(len(positions))
    selected: NDArray[np.int64] = order[np.lexsort((targets[order], rank))][:count]
    return selected


class Quantizer:
    """Quantizer of one network with different settings.

    Args:
        network: Model from `export_network`.
        images: Training images.
        target: `vnni` or `any`.
        seed: Seed for the selection of images.
        folder: Folder for temporary files.

    Attributes:
        trials: Settings tried so far with their distances, as JSON values.

    Raises:
        DataError: If there are too few images.
    """

    def __init__(
        self,
        network: onnx.ModelProto,
        images: VerificationImages,
        target: str,
        seed: int,
        folder: Path,
    ) -> None:
        if len(images) < MIN_IMAGES:
            raise DataError(
                f"int8 needs {MIN_IMAGES} training images for its calibration, found "
                f"{len(images)}: give --data DIR with more in train/, or another --precision"
            )
        count = min(CALIBRATION_IMAGES + PROBE_IMAGES, len(images))
        selected = select_balanced(images.images.targets, count, seed)
        pixels = list(images.select(selected))
        probes = max(1, count * PROBE_IMAGES // (CALIBRATION_IMAGES + PROBE_IMAGES))
        self._calibration, self._probes = pixels[:-probes], pixels[-probes:]
        self._target = target
        self._folder = folder
        self._prepared = folder / "prepared.onnx"
        onnx.save(network, folder / "network.onnx")
        quant_pre_process(
            str(folder / "network.onnx"), str(self._prepared), skip_symbolic_shape=True
        )
        prepared = onnx.load(self._prepared)
        self._layers = [
            node.name for node in prepared.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")
        ]
        self._reference = compute_onnx_features(prepared, self._probes)
        self.trials: list[dict[str, Any]] = []

    def search(self) -> Iterator[QuantizedNetwork]:
        """Yield quantized networks, each closer to the float network than the last, and slower."""
        settings = [Setting(method, self._target) for method in METHODS]
        results = [
            self._try_quantize(setting) for setting in track(settings, "int8", len(settings))
        ]
        best = min(filter(None, results), key=lambda result: result.distance)
        yield best
        method = best.setting.method
        # Find the most sensitive layers: keep each group in float by itself.
        groups = [group for group in np.array_split(self._layers, LAYER_GROUPS) if len(group)]
        ranked = sorted(
            (
                self.quantize(Setting(method, self._target, tuple(map(str, group))))
                for group in track(groups, "layers in float", len(groups))
            ),
            key=lambda result: result.distance,
        )
        for count in FLOAT_GROUPS:
            names = (name for result in ranked[:count] for name in result.setting.float_layers)
            yield self.quantize(Setting(method, self._target, tuple(names)))

    def quantize(self, setting: Setting) -> QuantizedNetwork:
        """Quantize with one setting and measure the change of the features."""
        method, options = METHODS[setting.method]
        uses_histogram = method is not CalibrationMethod.MinMax
        pixels = self._calibration[:HISTOGRAM_IMAGES] if uses_histogram else self._calibration
        out = self._folder / "quantized.onnx"
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # quantize_static warns about its internals and prints
            quantize_static(
                self._prepared,
                out,
                _CalibrationReader(pixels),
                op_types_to_quantize=list(OPERATORS),
                per_channel=True,
                reduce_range=setting.target == "any",
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=list(setting.float_layers),
                calibrate_method=method,
                extra_options=options,
                calibration_cache_path=self._folder / f"{setting.method}.json",
            )
        model = set_versions(onnx.load(out))
        features = compute_onnx_features(model, self._probes)
        lengths = np.linalg.norm(self._reference, axis=1) + 1e-12
        distance = float(np.mean(np.linalg.norm(features - self._reference, axis=1) / lengths))
        self.trials.append(setting.to_json() | {"distance": distance})
        return QuantizedNetwork(model, setting, distance)

    def _try_quantize(self, setting: Setting) -> QuantizedNetwork | None:
        try:
            return self.quantize(setting)
        except ValueError as error:
            if METHODS[setting.method][0] is CalibrationMethod.MinMax:
                raise
            # The histogram methods fail on activations that hardly vary.
            self.trials.append(setting.to_json() | {"failed": str(error)})
            return None


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]
    """Input of ONNX Runtime's calibration: one image at a time."""

    def __init__(self, images: Sequence[Pixels]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Pixels] | None:
        """Return the input of the next image, or None at the end."""
        pixels = next(self._images, None)
        return None if pixels is None else {INPUT: pixels[np.newaxis]}
