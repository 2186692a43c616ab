"""The session of an exported file: inputs and outputs are checked, and images run in batches."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boats_runtime.errors import ModelError, UsageError, first_line
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.providers.session import ActiveSession, warm_up

INPUT = "image"
OUTPUTS = ("probabilities", "label")
FEATURES = "features"
"""Additional output of files exported with `--with-features`."""

CPU_BATCH_SIZE = 4
"""Batch size on CPUs if the file has a dynamic one: larger batches need more memory and are not
faster."""

ACCELERATOR_BATCH_SIZE = 16
"""Batch size on other providers, which need large batches to be fully used."""


class ModelSession:
    """An open session whose inputs and outputs are those of a file of boats.

    Args:
        active: Session and its provider.
        metadata: Metadata of the file.

    Attributes:
        batch: Maximum number of images in one run.
        has_features: Whether the file has the features as an output.

    Raises:
        ModelError: If an input or output has another name, type or shape than the metadata says.
    """

    def __init__(self, active: ActiveSession, metadata: ModelMetadata) -> None:
        self._session: Any = active.session
        self._on_cpu = active.provider == "cpu"
        self._height = metadata.preprocessing.height
        self._width = metadata.preprocessing.width
        self._fixed_batch = self._check_input()
        self.has_features = self._check_outputs(len(metadata.labels))
        default = CPU_BATCH_SIZE if self._on_cpu else ACCELERATOR_BATCH_SIZE
        self.batch = self._fixed_batch or default

    def close(self) -> None:
        """Free the memory of the model."""
        self._session = None

    def warm_up(self) -> None:
        """Run the model once on a black image."""
        warm_up(self._get_session())

    def run(self, pixels: NDArray[np.uint8], outputs: tuple[str, ...]) -> list[NDArray[Any]]:
        """Return outputs of the model for prepared images, in batches of at most `batch`.

        Args:
            pixels: (N, height, width, 3) uint8.
            outputs: Names of outputs; each of them is returned with N rows.

        Raises:
            UsageError: If the shape or type of the pixels is wrong, or the session is closed.
            ModelError: If the model fails.
            TypeError: If the pixels are no array.
        """
        require_array(pixels)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (self._height, self._width, 3):
            raise UsageError(
                f"expected pixels (N, {self._height}, {self._width}, 3) uint8, "
                f"got {pixels.shape} {pixels.dtype}"
            )
        session = self._get_session()
        count, batch = len(pixels), self._fixed_batch
        if batch is None:
            # Accelerators compile for each new shape: limit them to two batch sizes.
            batch = max(1, count) if self._on_cpu or count == 1 else self.batch
        padding = -count % batch if count else batch
        if padding:
            black = np.zeros((padding, *pixels.shape[1:]), np.uint8)
            pixels = np.concatenate([pixels, black])
        try:
            parts = [
                session.run(list(outputs), {INPUT: pixels[start : start + batch]})
                for start in range(0, len(pixels), batch)
            ]
            return [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]
        except Exception as error:
            raise ModelError(f"the model fails on this input: {first_line(error)}") from error

    def _get_session(self) -> Any:
        session = self._session  # read once: another thread may close it
        if session is None:
            raise UsageError("this classifier is closed")
        return session

    def _check_input(self) -> int | None:
        """Check the input and return its batch size; None if it is dynamic."""
        height, width = self._height, self._width
        inputs = _get_signatures(self._session.get_inputs())
        _, shape = inputs.get(INPUT, ("", []))
        batch = shape[0] if shape else None
        if batch == 0 or inputs != {INPUT: ("tensor(uint8)", [batch, height, width, 3])}:
            raise ModelError(f"expected one input {INPUT} (N, {height}, {width}, 3) uint8")
        return batch

    def _check_outputs(self, classes: int) -> bool:
        """Check the outputs and return whether the features are among them."""
        batch = self._fixed_batch
        outputs = _get_signatures(self._session.get_outputs())
        has_features = FEATURES in outputs
        features_type, features_shape = outputs.pop(FEATURES, ("tensor(float)", [batch, None]))
        expected = {
            "probabilities": ("tensor(float)", [batch, classes]),
            "label": ("tensor(int64)", [batch]),
        }
        if outputs != expected or features_type != "tensor(float)" or len(features_shape) != 2:
            raise ModelError(
                f"expected outputs probabilities (N, {classes}) float32 and label (N,) int64"
            )
        return has_features


def require_array(pixels: object) -> None:
    """Check that prepared pixels are an array.

    Raises:
        TypeError: If they are not.
    """
    if not isinstance(pixels, np.ndarray):
        raise TypeError(
            "expected prepared pixels (N, height, width, 3) uint8, such as "
            f"classifier.prepare(image)[None], got {type(pixels).__name__}"
        )


def _get_signatures(nodes: Iterable[Any]) -> dict[str, tuple[str, list[int | None]]]:
    """Return the type and shape of each input or output by name; None for a dynamic size."""
    return {
        node.name: (node.type, [size if isinstance(size, int) else None for size in node.shape])
        for node in nodes
    }
