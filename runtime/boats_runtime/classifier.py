"""An exported model, ready to classify photos: `Classifier("boats.onnx").predict("photo.jpg")`."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_runtime.cpu import cpu_flags, saturates
from boats_runtime.errors import ImageError, ModelError, UsageError, first_line
from boats_runtime.model.file import read_model
from boats_runtime.prefetch import prefetch_batches
from boats_runtime.providers.session import Threads, open_session, warm_up

INPUT = "image"
OUTPUTS = ("probabilities", "label")
FEATURES = "features"
"""A further output of files that were exported with `--with-features`."""

BATCH = 4
"""Most photos that go through the network together on a CPU, where the file leaves it open: more
take memory and no less time."""

ACCELERATOR_BATCH = 16
"""The same on other providers, which are only busy with many."""

Item = TypeVar("Item")
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
        latency_ms: From pixels to probabilities, without decoding, in milliseconds: of a batch,
            each photo has its share.
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

    Its methods may be called from many threads at once. It is a context manager, too: leaving it
    lets go of the model's memory.

    Args:
        model: A file written by `boats-export`.
        provider: `auto`, or the name of one in `boats_runtime.providers.session.PROVIDERS`.
        threads: That work on one photo or batch; None for as many as this process may keep busy.
        spin: Whether idle threads of the CPU keep their cores for a while rather than sleep. A
            single run is quicker for it; a service beside others is a bad neighbour.

    Attributes:
        metadata: What the file says of itself.
        provider: The provider that runs it.
        selection_reason: Why that one.
        nodes: How many nodes each provider runs, by ONNX Runtime's names; empty on the CPU.
        batch: Most photos that go through the network together.

    Raises:
        ModelError: The file is missing, was not written by `boats-export`, or holds what a model
            of boats does not hold.
        UsageError: No provider is called that.
        ProviderError: The provider is not there or does not run this model.

    Examples:
        >>> with Classifier("boats.onnx", provider="cpu") as classifier:
        ...     prediction = classifier.predict("photo.jpg")
        >>> prediction.label
        'topa'
    """

    def __init__(
        self,
        model: str | Path,
        provider: str = "auto",
        *,
        threads: int | None = None,
        spin: bool = False,
    ) -> None:
        path = Path(model)
        file = read_model(path)
        self.metadata = file.metadata
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(open_session, file.content, provider, Threads(threads, spin))
            # Meanwhile: what a first photo needs as well.
            file.verify_digest()
            Image.preinit()
            try:
                active = opening.result()
                self._session: Any = active.session
                self._check_interface()
            except ModelError as error:
                raise ModelError(f"{path}: {error}") from error
        self.provider = active.provider
        self.selection_reason = active.reason
        self.nodes = active.nodes
        self.batch = self._fixed or (BATCH if self.provider == "cpu" else ACCELERATOR_BATCH)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the model; nothing can be predicted any more."""
        self._session = None

    def warm_up(self) -> None:
        """Runs the model once on a black photo, so that the first real one takes no longer."""
        warm_up(self._open_session())

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
        return self.classify(self.prepare(photo)[np.newaxis])[0]

    def predict_many(self, photos: Iterable[Photo]) -> Iterator[Prediction | ImageError]:
        """Classifies photos, decoding ahead; those that are ready go through the network together.

        Args:
            photos: As in `predict`; taken a few batches ahead of the one asked for, so they may be
                endless.

        Yields:
            For each photo, in order, its prediction, or why it can't be decoded.

        Examples:
            >>> classifier = Classifier("boats.onnx", provider="cpu")
            >>> for outcome in classifier.predict_many(["photo.jpg", "missing.jpg"]):
            ...     print(outcome if isinstance(outcome, Exception) else outcome.label)
            topa
            can't be read: No such file or directory
        """
        for _, outcome in self.predict_each(photos, lambda photo: photo):
            yield outcome

    def predict_each(
        self, items: Iterable[Item], photo_of: Callable[[Item], Photo]
    ) -> Iterator[tuple[Item, Prediction | ImageError]]:
        """Classifies the photos of items as `predict_many` does, and yields each with its item.

        Args:
            items: Whatever comes with a photo.
            photo_of: Gives an item's photo; called in threads, may raise `ImageError`.
        """

        def prepare(item: Item) -> tuple[Item, NDArray[np.uint8] | ImageError]:
            try:
                return item, self.prepare(photo_of(item))
            except ImageError as error:
                return item, error

        # Twice a batch: while one runs, the next one fills.
        for batch in prefetch_batches(prepare, items, 2 * self.batch, self.batch):
            ready = [pixels for _, pixels in batch if not isinstance(pixels, ImageError)]
            predictions = iter(self.classify(np.stack(ready)) if ready else ())
            for item, pixels in batch:
                yield item, pixels if isinstance(pixels, ImageError) else next(predictions)

    def prepare(self, photo: Photo) -> NDArray[np.uint8]:
        """Returns the network's input `(height, width, 3) uint8` of a photo, as `predict` does.

        Raises:
            ImageError: The photo can't be decoded.
        """
        preprocessing = self.metadata.preprocessing
        if isinstance(photo, Image.Image):
            return preprocessing.apply(photo)
        if not isinstance(photo, np.ndarray):
            return preprocessing.read(Path(photo) if isinstance(photo, str) else photo)
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
            raise ImageError(f"{photo.dtype} pixels {photo.shape} are not (height, width, 3) uint8")
        return preprocessing.apply(Image.fromarray(photo))

    def classify(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Classifies what `prepare` returned, `(N, height, width, 3) uint8`."""
        started = time.perf_counter()
        probabilities, labels = self.run(pixels)
        latency_ms = (time.perf_counter() - started) * 1000 / max(1, len(pixels))
        return self.rank(probabilities, labels, latency_ms)

    def rank(
        self, probabilities: NDArray[np.float32], labels: NDArray[np.int64], latency_ms: float
    ) -> list[Prediction]:
        """Puts names to what `run` returned, and the likeliest classes first."""
        orders = np.argsort(-probabilities, axis=1, kind="stable")
        names = self.metadata.labels
        predictions = []
        for row, order, label in zip(probabilities, orders, labels, strict=True):
            # The file's own label leads, also where two probabilities are equal.
            ranked = [int(label), *(int(index) for index in order if index != label)]
            top = tuple(Score(names[index], float(row[index])) for index in ranked)
            predictions.append(Prediction(top, latency_ms))
        return predictions

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Runs the model on ready pixels.

        Args:
            pixels: `(N, height, width, 3) uint8` RGB, as `Preprocessing.apply` makes them.

        Returns:
            Probabilities `(N, K) float32`, and indices into `metadata.labels` `(N,) int64`.

        Raises:
            UsageError: The pixels are not such, or this classifier is closed.
            ModelError: The model fails on them, or gives what no classifier gives.
        """
        probabilities, labels = self._ask(pixels, OUTPUTS)
        count, classes = len(pixels), len(self.metadata.labels)
        if (
            probabilities.shape != (count, classes)
            or labels.shape != (count,)
            or not np.isfinite(probabilities).all()
            or not ((labels >= 0) & (labels < classes)).all()
        ):
            raise ModelError("the model gives no probabilities or labels: export it again")
        return probabilities, labels

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns the features `(N, D) float32` of ready pixels, which are as in `run`.

        Raises:
            UsageError: The file was not exported with its features; else as in `run`.
            ModelError: As in `run`.
        """
        if not self._has_features:
            raise UsageError("this model gives no features: export it with --with-features")
        (features,) = self._ask(pixels, (FEATURES,))
        return features

    def _ask(self, pixels: NDArray[np.uint8], names: tuple[str, ...]) -> list[NDArray[Any]]:
        size = self.metadata.preprocessing
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (size.height, size.width, 3):
            raise UsageError(
                f"{pixels.dtype} pixels {pixels.shape} are not "
                f"(N, {size.height}, {size.width}, 3) uint8"
            )
        session = self._open_session()
        count, batch = len(pixels), self._fixed
        if batch is None and self.provider != "cpu" and count > 1:
            # Accelerators prepare themselves for each new shape: they get to see two of them.
            batch = self.batch
        try:
            if batch is None:
                return list(session.run(list(names), {INPUT: pixels}))
            # What the last batch lacks is filled up with black.
            runs = -(-count // batch) or 1
            filled = np.zeros((runs * batch, *pixels.shape[1:]), np.uint8)
            filled[:count] = pixels
            parts = [
                session.run(list(names), {INPUT: filled[start : start + batch]})
                for start in range(0, len(filled), batch)
            ]
            return [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]
        except Exception as error:
            raise ModelError(f"the model fails on this input: {first_line(error)}") from error

    def _open_session(self) -> Any:
        session = self._session  # taken once: another thread may close this classifier meanwhile
        if session is None:
            raise UsageError("this classifier is closed")
        return session

    def _check_interface(self) -> None:
        size = self.metadata.preprocessing
        inputs = [_signature(node) for node in self._session.get_inputs()]
        self._fixed = inputs[0][2][0] if len(inputs) == 1 and inputs[0][2] else None
        expected_input = (INPUT, "tensor(uint8)", [self._fixed, size.height, size.width, 3])
        if inputs != [expected_input] or self._fixed == 0:
            raise ModelError(f"its input is not {INPUT} (N, {size.height}, {size.width}, 3) uint8")
        outputs = {node.name: _signature(node) for node in self._session.get_outputs()}
        _, kind, shape = outputs.pop(FEATURES, ("", "tensor(float)", [self._fixed, 0]))
        self._has_features = shape != [self._fixed, 0]
        classes = len(self.metadata.labels)
        probabilities, label = OUTPUTS
        expected = [
            (label, "tensor(int64)", [self._fixed]),
            (probabilities, "tensor(float)", [self._fixed, classes]),
        ]
        if sorted(outputs.values()) != expected or (kind, len(shape)) != ("tensor(float)", 2):
            raise ModelError(
                f"its outputs are not probabilities (N, {classes}) float32 and label (N,) int64"
            )


def _signature(node: Any) -> tuple[str, str, list[int | None]]:
    """Returns a value's name, type and shape; None for a side that is not fixed."""
    shape = [side if isinstance(side, int) else None for side in node.shape]
    return node.name, node.type, shape
