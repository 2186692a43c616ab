"""Image classification with an exported model: `Classifier("boats.onnx").predict("image.jpg")`."""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_runtime.cpu import cpu_flags, saturates
from boats_runtime.errors import ImageError, ModelError, UsageError
from boats_runtime.model.file import read_model
from boats_runtime.model_session import FEATURES, OUTPUTS, ModelSession, require_array
from boats_runtime.prediction import (
    Failure,
    ImageInput,
    ImageSource,
    Outcome,
    Prediction,
    Score,
    describe_type,
)
from boats_runtime.prefetch import prefetch_batches
from boats_runtime.providers.session import Threads, open_session

_IMAGE_TYPES = (str, Path, bytes, bytearray, Image.Image, np.ndarray)


class Classifier:
    """An exported model in an ONNX Runtime session on a verified provider.

    Methods are thread-safe. Leaving the context manager frees the memory of the model. A pickled
    classifier opens its file again when it is unpickled, which must be there then.

    Args:
        model: File written by `boats-export`.
        provider: `auto` or a key of `boats_runtime.providers.session.PROVIDERS`.
        threads: Number of threads that run the model; None for the number of CPUs available to
            this process.
        spin: Whether idle threads of the CPU provider keep spinning for a while. It reduces the
            latency of single calls, but takes CPU time from other processes.

    Attributes:
        metadata: Metadata of the file.
        provider: Provider that runs the model.
        selection_reason: Reason for the choice of the provider.
        nodes: Number of nodes by ONNX Runtime's provider name; empty on the CPU.
        batch: Maximum number of images in one run of the model.

    Raises:
        ModelError: If the file is missing, was not written by `boats-export`, or has unexpected
            content.
        UsageError: If the name of the provider is unknown.
        ProviderError: If the provider is not available or cannot run the model.

    Examples:
        >>> with Classifier("boats.onnx", provider="cpu") as classifier:
        ...     prediction = classifier.predict("image.jpg")
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
        # Absolute, because a process that unpickles it may have another working directory.
        self._reopen = partial(type(self), path.absolute(), provider, threads=threads, spin=spin)
        self.metadata = file.metadata
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(open_session, file.content, provider, Threads(threads, spin))
            # Done while the session opens; the first image needs Pillow's plugins.
            file.verify_digest()
            Image.preinit()
            try:
                active = opening.result()
                self._session = ModelSession(active, file.metadata)
            except ModelError as error:
                raise ModelError(f"{path}: {error}") from error
        self.provider = active.provider
        self.selection_reason = active.reason
        self.nodes = active.nodes
        self.batch = self._session.batch

    def __repr__(self) -> str:
        model = str(self._reopen.args[0])
        return f"{type(self).__name__}({model!r}, provider={self.provider!r})"

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        return self._reopen, ()

    def __call__(self, image: ImageSource) -> Prediction:
        """Classify one image, as `predict` does."""
        return self.predict(image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the memory of the model; later predictions raise `UsageError`."""
        self._session.close()

    def warm_up(self) -> None:
        """Run the model once on a black image, so that the first prediction is not slower."""
        self._session.warm_up()

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the model's output."""
        return self.metadata.labels

    @property
    def compatibility_warning(self) -> str:
        """Warning about running this file on this machine; empty if there is none."""
        target: Any = self.metadata.provenance
        for key in ("proof", "quantization", "target"):
            target = target.get(key) if isinstance(target, Mapping) else None
        affected = self.provider == "cpu" and target == "vnni"
        if not affected or not saturates(cpu_flags(), platform.machine()):
            return ""
        return (
            "this int8 file was exported for CPUs with exact 8-bit sums, and this CPU may "
            "saturate them: scores can differ; export the model with --target any"
        )

    @property
    def caution(self) -> str:
        """Deprecated name of `compatibility_warning`."""
        return self.compatibility_warning

    @property
    def provider_reason(self) -> str:
        """Deprecated name of `selection_reason`."""
        return self.selection_reason

    def predict(self, image: ImageSource) -> Prediction:
        """Classify one image.

        Args:
            image: Path of a file, content of a file, image decoded by Pillow, or uint8 pixels of
                any size: `(height, width)` gray, `(height, width, 3)` RGB or `(height, width, 4)`
                RGBA.

        Raises:
            ImageError: If the image cannot be decoded.
            TypeError: If it is something else.
        """
        (prediction,) = self.classify(self.prepare(image)[np.newaxis])
        return replace(prediction, name=_get_name(image))

    def predict_many(
        self, images: Iterable[ImageSource | ImageInput | Failure]
    ) -> Iterator[Outcome]:
        """Classify a stream of images in batches, decoding ahead.

        Args:
            images: Images as in `predict`, with or without a name; a `Failure` is passed through.
                The stream may be infinite: at most a few batches are read ahead.

        Yields:
            One result per image, in order: its prediction, or a `Failure` if it cannot be decoded.

        Examples:
            >>> classifier = Classifier("boats.onnx", provider="cpu")
            >>> for outcome in classifier.predict_many(["image.jpg", "missing.jpg"]):
            ...     print(outcome if isinstance(outcome, Exception) else outcome.label)
            topa
            cannot be read: No such file or directory

        Raises:
            TypeError: If `images` is a single image, or one of them is no image.
        """
        is_batch = isinstance(images, np.ndarray) and images.ndim == 4
        if isinstance(images, _IMAGE_TYPES) and not is_batch:
            raise TypeError(
                f"expected several images, got one {type(images).__name__}: use predict"
            )
        return self._predict_stream(iter(images))

    def _predict_stream(
        self, images: Iterator[ImageSource | ImageInput | Failure]
    ) -> Iterator[Outcome]:
        # While one batch runs, the next one fills. Closed at once if the caller stops.
        stream = prefetch_batches(self._decode, images, 2 * self.batch, self.batch)
        with closing(stream) as batches:
            for batch in batches:
                pixels = [item[1] for item in batch if not isinstance(item, Failure)]
                results = iter(self.classify(np.stack(pixels)) if pixels else ())
                for item in batch:
                    if isinstance(item, Failure):
                        yield item
                    else:
                        yield replace(next(results), name=item[0])

    def prepare(self, image: ImageSource) -> NDArray[np.uint8]:
        """Return the network input `(height, width, 3) uint8` of an image.

        Raises:
            ImageError: If the image cannot be decoded.
            TypeError: If it is something else than `predict` takes.
        """
        preprocessing = self.metadata.preprocessing
        if isinstance(image, Image.Image):
            return preprocessing.apply(image)
        if isinstance(image, str | Path):
            return preprocessing.read(Path(image))
        if isinstance(image, bytes):
            return preprocessing.read(image)
        if not isinstance(image, np.ndarray):
            raise TypeError(describe_type(image))
        channels = image.shape[2:]
        if image.dtype != np.uint8 or channels not in ((), (3,), (4,)) or image.ndim < 2:
            raise ImageError(
                "expected pixels (height, width), (height, width, 3) or (height, width, 4) uint8, "
                f"got {image.shape} {image.dtype}"
            )
        if not image.size:
            raise ImageError(f"expected pixels, got an empty array {image.shape}")
        return preprocessing.apply(Image.fromarray(image))

    def classify(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Classify `(N, height, width, 3) uint8` results of `prepare`."""
        started = time.perf_counter()
        probabilities, labels = self.run(pixels)
        latency_ms = (time.perf_counter() - started) * 1000 / max(1, len(pixels))
        return self.rank(probabilities, labels, latency_ms)

    def rank(
        self, probabilities: NDArray[np.float32], labels: NDArray[np.int64], latency_ms: float
    ) -> list[Prediction]:
        """Return the outputs of `run` as predictions, classes by decreasing probability."""
        orders = np.argsort(-probabilities, axis=1, kind="stable")
        names = self.labels
        threshold = self.metadata.threshold or 0.0
        predictions = []
        for row, order, label in zip(probabilities, orders, labels, strict=True):
            # The label output of the model comes first, also if two probabilities are equal.
            ranked = [int(label), *(int(index) for index in order if index != label)]
            top = tuple(Score(names[index], float(row[index])) for index in ranked)
            unknown = top[0].score < threshold
            predictions.append(Prediction(top, latency_ms, unknown=unknown))
        return predictions

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Run the model on prepared images.

        Args:
            pixels: `(N, height, width, 3) uint8` RGB, results of `Preprocessing.apply`.

        Returns:
            Probabilities `(N, K) float32` and indices into `metadata.labels` `(N,) int64`.

        Raises:
            UsageError: If the shape or type of the pixels is wrong, or the classifier is closed.
            ModelError: If the model fails or its outputs are invalid.
            TypeError: If the pixels are no array.
        """
        probabilities, labels = self._session.run(pixels, OUTPUTS)
        count, classes = len(pixels), len(self.metadata.labels)
        if (
            probabilities.shape != (count, classes)
            or labels.shape != (count,)
            or not np.isfinite(probabilities).all()
            or not ((labels >= 0) & (labels < classes)).all()
        ):
            raise ModelError("the model outputs invalid probabilities or labels: export it again")
        return probabilities, labels

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features `(N, D) float32` of prepared images, which are as in `run`.

        Raises:
            UsageError: If the file was exported without its features, or as in `run`.
            ModelError: If the model fails.
            TypeError: As in `run`.
        """
        require_array(pixels)
        if not self._session.has_features:
            raise UsageError("the model has no features output: export it with --with-features")
        (features,) = self._session.run(pixels, (FEATURES,))
        return features

    def _decode(
        self, item: ImageSource | ImageInput | Failure
    ) -> tuple[str, NDArray[np.uint8]] | Failure:
        if isinstance(item, Failure):
            return item
        if not isinstance(item, ImageInput):
            item = ImageInput(_get_name(item), item)
        try:
            return item.name, self.prepare(item.image)
        except ImageError as error:
            return Failure(str(error), item.name)


def _get_name(image: ImageSource) -> str:
    return str(image) if isinstance(image, str | Path) else ""
