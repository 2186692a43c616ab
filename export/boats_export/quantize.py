"""The network in 8 bits: static quantisation, and the search for settings that keep its features.

Weights are quantised per channel, activations to the ranges they took on real photos (QDQ format,
Jacob et al. 2018, https://arxiv.org/abs/1712.05877). What is searched: how the ranges are chosen,
and which layers stay in float. Settings are ranked by how far the features of other photos move,
which needs no labels and so flatters nothing.
"""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
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

from boats_export.opset import stamp
from boats_export.verification_images import Photos, Pixels
from boats_export.verify import session_features
from boats_runtime.classifier import INPUT
from boats_runtime.cpu import cpu_flags, has_dot_products
from boats_runtime.errors import DataError
from boats_runtime.progress import track

CALIBRATION = 48
"""Photos that the ranges of activations are taken from."""

HISTOGRAMS = 16
"""As many of them for the methods that look at every value: those are slow."""

PROBES = 32
"""Other photos, on which settings are ranked."""

LEAST = 8
"""Photos without which ranges are luck."""

METHODS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "averaged minmax": (CalibrationMethod.MinMax, {"CalibMovingAverage": True}),
    "percentile 99.99": (CalibrationMethod.Percentile, {"CalibPercentile": 99.99}),
    "entropy": (CalibrationMethod.Entropy, {}),
}
"""How ranges are chosen."""

OPERATORS = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "Gemm", "GlobalAveragePool", "MatMul",
    "MaxPool", "Mul", "Relu", "Sigmoid",
)  # fmt: skip
"""What is quantised: what ONNX Runtime has 8-bit kernels for. The normalisation before the network
and those inside it stay in float."""

GROUPS = 8
"""Runs of layers that are tried in float, one at a time."""

FLOATS = (0, 1, 2, 4)
"""How many of the most sensitive groups stay in float, in the order in which that is tried."""


@dataclass(frozen=True)
class Setting:
    """How a network is quantised.

    Attributes:
        method: A key of `METHODS`.
        target: `vnni` for CPUs that add up 8-bit products exactly, `any` for the others too, which
            costs one bit of the weights.
        floats: Names of the layers that stay in float.
    """

    method: str
    target: str
    floats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantized:
    """A quantised network.

    Attributes:
        model: From `image` to `features`, as the original.
        setting: How it was made.
        distance: Of its features from the original's, as a share of their length, the mean over the
            probes.
        tried: All settings so far, JSON values.
    """

    model: onnx.ModelProto
    setting: Setting
    distance: float
    tried: tuple[dict[str, Any], ...]


def resolve_target(target: str) -> str:
    """Returns `vnni` or `any`; `auto` is what this machine's CPU is."""
    if target != "auto":
        return target
    return "vnni" if has_dot_products(cpu_flags()) else "any"


def sample(targets: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Chooses photos class by class in turn, so that rare classes are there.

    Args:
        targets: Class indices `(N,) int64`.
        count: How many at most.
        seed: Of the choice.

    Returns:
        Indices into the photos, the classes in turn.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    turn = np.empty(len(targets), dtype=np.int64)
    for index in np.unique(targets):
        mine = np.flatnonzero(targets[order] == index)
        turn[mine] = np.arange(len(mine))
    chosen: NDArray[np.int64] = order[np.lexsort((targets[order], turn))][:count]
    return chosen


class Quantizer:
    """Quantises one network in several ways.

    Args:
        network: From `export_network`.
        photos: The training photos.
        target: `vnni` or `any`.
        seed: Of the choice of photos.

    Raises:
        DataError: There are too few photos.
    """

    def __init__(
        self, network: onnx.ModelProto, photos: Photos, target: str, seed: int, folder: Path
    ) -> None:
        if len(photos) < LEAST:
            raise DataError(
                f"{len(photos)} photos to calibrate int8 on are too few, {LEAST} are needed: "
                "give --data DIR with more in train/, or export another --precision"
            )
        chosen = sample(photos.targets, min(CALIBRATION + PROBES, len(photos)), seed)
        some = Photos(
            photos.preprocessing,
            tuple(photos.paths[index] for index in chosen),
            photos.targets[chosen],
            "",
        )
        pixels = list(some)
        probes = max(1, len(pixels) * PROBES // (CALIBRATION + PROBES))
        self._probes, self._calibration = pixels[-probes:], pixels[:-probes]
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
        self._original = session_features(prepared.SerializeToString(), self._probes)
        self._tried: list[dict[str, Any]] = []

    def search(self) -> Iterator[Quantized]:
        """Yields quantised networks, each nearer to the original than the last, and slower."""
        every = [Setting(method, self._target) for method in METHODS]
        tried = [one for setting in track(every, "int8", len(every)) if (one := self._try(setting))]
        best = min(tried, key=lambda one: one.distance)
        yield self._told(best)
        # Which layers cost most: each group of neighbours in float by itself.
        parts = [part for part in np.array_split(self._layers, GROUPS) if len(part)]
        alone = [
            self.quantize(Setting(best.setting.method, self._target, tuple(map(str, part))))
            for part in track(parts, "layers in float", len(parts))
        ]
        alone.sort(key=lambda one: one.distance)
        for count in FLOATS[1:]:
            floats = tuple(name for one in alone[:count] for name in one.setting.floats)
            yield self._told(self.quantize(Setting(best.setting.method, self._target, floats)))

    def quantize(self, setting: Setting) -> Quantized:
        """Quantises in one way, and measures how far the features move."""
        method, options = METHODS[setting.method]
        histogram = method is not CalibrationMethod.MinMax
        pixels = self._calibration[:HISTOGRAMS] if histogram else self._calibration
        out = self._folder / "quantized.onnx"
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # it warns of its own internals, and prints
            quantize_static(
                self._prepared,
                out,
                _Reader(pixels),
                op_types_to_quantize=list(OPERATORS),
                per_channel=True,
                reduce_range=setting.target == "any",
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=list(setting.floats),
                calibrate_method=method,
                extra_options=options,
                calibration_cache_path=self._folder / f"{setting.method}.json",
            )
        model = stamp(onnx.load(out))
        features = session_features(model.SerializeToString(), self._probes)
        lengths = np.linalg.norm(self._original, axis=1) + 1e-12
        distance = float(np.mean(np.linalg.norm(features - self._original, axis=1) / lengths))
        self._tried.append(asdict(setting) | {"distance": distance})
        return Quantized(model, setting, distance, ())

    def _try(self, setting: Setting) -> Quantized | None:
        """Quantises in one way, or notes that this way can't be gone with this network."""
        try:
            return self.quantize(setting)
        except ValueError as error:
            if METHODS[setting.method][0] is CalibrationMethod.MinMax:
                raise
            # A histogram has no bins for values that hardly differ.
            self._tried.append(asdict(setting) | {"failed": str(error)})
            return None

    def _told(self, one: Quantized) -> Quantized:
        return Quantized(one.model, one.setting, one.distance, tuple(self._tried))


@contextlib.contextmanager
def open_quantizer(
    network: onnx.ModelProto, photos: Photos, target: str, seed: int
) -> Iterator[Quantizer]:
    """Makes a `Quantizer` with a folder for its files; raises as it does."""
    with tempfile.TemporaryDirectory(prefix="boats-int8-") as folder:
        yield Quantizer(network, photos, target, seed, Path(folder))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands photos to the calibration one by one."""

    def __init__(self, pixels: Sequence[Pixels]) -> None:
        self._pixels = iter(pixels)

    def get_next(self) -> dict[str, Pixels] | None:
        """Returns the next photo's feeds, or None."""
        pixels = next(self._pixels, None)
        return None if pixels is None else {INPUT: pixels[np.newaxis]}
