"""An exported model, ready to classify photos: `Classifier("boats.onnx").predict("photo.jpg")`."""

import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_runtime.cpu import cpu_flags, saturates
from boats_runtime.errors import ImageError, ModelError, UsageError
from boats_runtime.look_ahead import look_ahead
from boats_runtime.metadata import ModelMetadata
from boats_runtime.preprocess import decode
from boats_runtime.providers import open_session

INPUT = "image"
OUTPUTS = ("probabilities", "label")
FEATURES = "features"
"""A further output of files that were exported with `--with-features`."""


AHEAD = 4
"""Photos that are decoded before the network asks for them."""

Photo = str | Path | bytes | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Score:
    """A label and its probability, 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """What the model says of one photo.

    Attributes:
        top: All classes, the likeliest first.
        latency_ms: From pixels to probabilities, without decoding, in milliseconds.
    """

    top: tuple[Score, ...]
    latency_ms: float

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.top[0].label

    @property
    def score(self) -> float:
        """The probability of the likeliest class, 0 to 1."""
        return self.top[0].score


class Classifier:
    """An exported model on a proved provider.

    Args:
        model: A file written by `boats-export`.
        provider: `auto`, `cpu` or `cuda`.

    Attributes:
        metadata: What the file says of itself.
        provider: The provider that runs it.
        provider_reason: Why that one.

    Raises:
        ModelError: The file is missing, is no ONNX model, or was not written by `boats-export`.
        ProviderError: The provider is not there or does not run this model.
    """

    def __init__(self, model: str | Path, provider: str = "auto") -> None:
        path = Path(model)
        if not path.is_file():
            raise ModelError(f"{path}: no such model file")
        active = open_session(path, provider)
        self._session = active.session
        self.provider = active.provider
        self.provider_reason = active.reason
        try:
            self.metadata = ModelMetadata.from_properties(
                self._session.get_modelmeta().custom_metadata_map
            )
            self._check_interface()
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error

    @property
    def caution(self) -> str:
        """What is to be said of running this file here; empty if there is nothing."""
        part: Any = self.metadata.provenance
        for key in ("proof", "quantization", "target"):
            part = part.get(key) if isinstance(part, Mapping) else None
        if self.provider != "cpu" or part != "vnni":
            return ""
        if not saturates(cpu_flags(), platform.machine()):
            return ""
        return (
            "this int8 file was made for CPUs that add up 8-bit products exactly, and this one "
            "does not: its scores may be others; export it with --target any"
        )

    def predict(self, photo: Photo) -> Prediction:
        """Classifies one photo.

        Args:
            photo: A file's path, the bytes of one, an image that Pillow decoded, or `(height,
                width, 3) uint8` RGB pixels of any size.

        Raises:
            ImageError: The photo can't be decoded.
        """
        return self.classify(self.prepare(photo))

    def predict_many(self, photos: Iterable[Photo]) -> Iterator[Prediction | ImageError]:
        """Classifies photos one after the other, decoding a few ahead.

        Args:
            photos: As in `predict`; taken as they are needed, so they may be endless.

        Yields:
            For each photo, in order, its prediction, or why it can't be decoded.
        """

        def prepare(photo: Photo) -> NDArray[np.uint8] | ImageError:
            try:
                return self.prepare(photo)
            except ImageError as error:
                return error

        for pixels in look_ahead(prepare, photos, AHEAD):
            yield pixels if isinstance(pixels, ImageError) else self.classify(pixels)

    def prepare(self, photo: Photo) -> NDArray[np.uint8]:
        """Returns the network's input `(height, width, 3) uint8` of a photo, as `predict` does.

        Raises:
            ImageError: The photo can't be decoded.
        """
        if isinstance(photo, np.ndarray):
            if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
                raise ImageError(
                    f"{photo.dtype} pixels {photo.shape} are not (height, width, 3) uint8"
                )
            image = Image.fromarray(photo)
        elif isinstance(photo, Image.Image):
            image = photo
        else:
            image = decode(Path(photo) if isinstance(photo, str) else photo)
        return self.metadata.preprocessing.apply(image)

    def classify(self, pixels: NDArray[np.uint8]) -> Prediction:
        """Classifies what `prepare` returned."""
        started = time.perf_counter()
        probabilities, labels = self.run(pixels[np.newaxis])
        latency_ms = (time.perf_counter() - started) * 1000
        order = np.argsort(-probabilities[0], kind="stable")
        # The file's own label leads, also where two probabilities are equal.
        first = int(labels[0])
        ranked = [first, *(int(index) for index in order if index != first)]
        names = self.metadata.labels
        top = tuple(Score(names[index], float(probabilities[0, index])) for index in ranked)
        return Prediction(top, latency_ms)

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Runs the model on ready pixels.

        Args:
            pixels: `(N, height, width, 3) uint8` RGB, as `Preprocessing.apply` makes them.

        Returns:
            Probabilities `(N, K) float32`, and indices into `metadata.labels` `(N,) int64`.
        """
        probabilities, labels = self._ask(pixels, OUTPUTS)
        return probabilities, labels

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features `(N, D) float32` of ready pixels, which are as in `run`.

        Raises:
            UsageError: The file was not exported with its features.
        """
        if not self._has_features:
            raise UsageError("this model gives no features: export it with --with-features")
        (features,) = self._ask(pixels, (FEATURES,))
        return features

    def _ask(self, pixels: NDArray[np.uint8], names: tuple[str, ...]) -> list[NDArray[Any]]:
        if self._batch is None:
            return list(self._session.run(list(names), {INPUT: pixels}))
        # A file of a fixed batch: the last one is filled up with black.
        count, batch = len(pixels), self._batch
        runs = -(-count // batch) or 1
        filled = np.zeros((runs * batch, *pixels.shape[1:]), pixels.dtype)
        filled[:count] = pixels
        parts = [
            self._session.run(list(names), {INPUT: filled[start : start + batch]})
            for start in range(0, len(filled), batch)
        ]
        return [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]

    def _check_interface(self) -> None:
        size = self.metadata.preprocessing
        inputs = [_signature(node) for node in self._session.get_inputs()]
        self._batch = inputs[0][2][0] if len(inputs) == 1 and inputs[0][2] else None
        expected_input = (INPUT, "tensor(uint8)", [self._batch, size.height, size.width, 3])
        if inputs != [expected_input] or self._batch == 0:
            raise ModelError(f"its input is not {INPUT} (N, {size.height}, {size.width}, 3) uint8")
        outputs = {node.name: _signature(node) for node in self._session.get_outputs()}
        _, kind, shape = outputs.pop(FEATURES, ("", "tensor(float)", [self._batch, 0]))
        self._has_features = shape != [self._batch, 0]
        classes = len(self.metadata.labels)
        probabilities, label = OUTPUTS
        expected = [
            (label, "tensor(int64)", [self._batch]),
            (probabilities, "tensor(float)", [self._batch, classes]),
        ]
        if sorted(outputs.values()) != expected or (kind, len(shape)) != ("tensor(float)", 2):
            raise ModelError(
                f"its outputs are not probabilities (N, {classes}) float32 and label (N,) int64"
            )


def _signature(node: Any) -> tuple[str, str, list[int | None]]:
    """Returns a value's name, type and shape; None for a side that is not fixed."""
    shape = [side if isinstance(side, int) else None for side in node.shape]
    return node.name, node.type, shape
