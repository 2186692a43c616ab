"""Verification of an exported file against the network and the classifier it was made from."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from boats_export.verification_images import STRESS_INPUTS, Pixels, VerificationImages
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError
from boats_runtime.model_session import FEATURES, INPUT, OUTPUTS
from boats_runtime.providers.session import Threads, open_session
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run

BATCH_SIZES = (1, 2, 7)
"""Batch sizes of the verification, in turn: exporters have failed for some sizes only."""

TOLERANCE = 1e-4
"""Largest allowed difference of a probability."""

TIE_TOLERANCE = 1e-4
"""Distance from zero within which float32 may change the sign of a pairwise decision: its vote."""

MAX_TIED_SHARE = 0.01
"""Largest allowed share of images with a tied vote."""


@dataclass(frozen=True)
class ReferenceOutputs:
    """Outputs of a network and a scikit-learn classifier for the images and the stress inputs.

    Attributes:
        features: (N, D) float32.
        probabilities: (N, K) float64.
        labels: (N,) int64, class indices.
    """

    features: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class FileOutputs:
    """Outputs of an exported file for the same inputs.

    Attributes:
        names: Class names in the file.
        probabilities: (N, K) float32.
        labels: (N,) int64, indices into the names.
    """

    names: tuple[str, ...]
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Parity:
    """Comparison of an exported file with the reference outputs.

    Attributes:
        images: Number of images compared.
        stress_inputs: Number of stress inputs compared.
        labels_equal: Number of images and stress inputs with the same label.
        largest_difference: Largest difference of a probability, except at tied votes.
        tied_votes: Number of images and stress inputs that differ because a vote between two
            classes is a tie.
    """

    images: int
    stress_inputs: int
    labels_equal: int
    largest_difference: float
    tied_votes: int

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values, under the names in the file's provenance."""
        return {
            "photos": self.images,
            "hard_photos": self.stress_inputs,
            "labels_equal": self.labels_equal,
            "largest_difference": self.largest_difference,
            "undecided": self.tied_votes,
        }


def compute_torch_features(run: Run, images: VerificationImages) -> NDArray[np.float32]:
    """Run the run's network in float32 on the CPU over the images and the stress inputs."""
    with torch.inference_mode():
        return np.stack(
            [
                run.network(torch.tensor(pixels[np.newaxis])).numpy()[0]
                for pixels in images.with_stress_inputs("PyTorch")
            ]
        )


def compute_onnx_features(
    network: onnx.ModelProto, images: Iterable[Pixels]
) -> NDArray[np.float32]:
    """Run an ONNX feature network on the CPU, image by image: (N, D) float32."""
    session = _open_session(network)
    return np.stack([session.run(None, {INPUT: pixels[np.newaxis]})[0][0] for pixels in images])


def compute_reference_outputs(run: Run, features: NDArray[np.float32]) -> ReferenceOutputs:
    """Run the run's classifier, in scikit-learn's float64, on features."""
    probabilities = np.asarray(run.estimator.predict_proba(features), dtype=np.float64)
    return ReferenceOutputs(features, probabilities, np.asarray(run.estimator.predict(features)))


def run_file(model: Path, images: VerificationImages, provider: str = "cpu") -> FileOutputs:
    """Run an exported file over the images and the stress inputs.

    The batch sizes are `BATCH_SIZES` in turn, and the preprocessing is that of the file.

    Raises:
        ProviderError: If the provider is not available or cannot run the file.
    """
    classifier = Classifier(model, provider)
    images = replace(images, preprocessing=classifier.metadata.preprocessing)
    batches = _make_batches(images.with_stress_inputs("exported file"))
    results = [classifier.run(batch) for batch in batches]
    probabilities, labels = (np.concatenate(parts) for parts in zip(*results, strict=True))
    return FileOutputs(classifier.metadata.labels, probabilities, labels)


def run_classifier_graph(
    classifier_graph: onnx.ModelProto, features: NDArray[np.float32], names: tuple[str, ...]
) -> FileOutputs:
    """Run the ONNX graph of a classifier on features."""
    session = _open_session(classifier_graph)
    probabilities, labels = session.run(list(OUTPUTS), {FEATURES: features})
    return FileOutputs(names, probabilities, labels)


def compare_outputs(run: Run, reference: ReferenceOutputs, outputs: FileOutputs) -> Parity:
    """Compare the outputs of a file with the reference outputs.

    Differing images with a vote between two classes that is a tie within `TIE_TOLERANCE` are
    counted separately: rounding decides such a vote in either implementation.
    """
    pairs = zip(outputs.labels, reference.labels, strict=True)
    equal = np.array([outputs.names[label] == run.classes[target] for label, target in pairs])
    differences = np.max(np.abs(outputs.probabilities - reference.probabilities), axis=1)
    breaches = ~(equal & (differences <= TOLERANCE))  # NaN is a breach too
    tied = np.zeros_like(breaches)
    if breaches.any() and isinstance(run.estimator, CalibratedSVC) and len(run.classes) > 2:
        margins = run.estimator.vote_margin(reference.features[breaches])
        tied[np.flatnonzero(breaches)[margins < TIE_TOLERANCE]] = True
        tied &= np.isfinite(differences)
    return Parity(
        images=len(equal) - len(STRESS_INPUTS),
        stress_inputs=len(STRESS_INPUTS),
        labels_equal=int(equal.sum()),
        largest_difference=float(np.max(differences, where=~tied, initial=0.0)),
        tied_votes=int(tied.sum()),
    )


def require_parity(parity: Parity) -> None:
    """Check that a file gives the reference outputs.

    Raises:
        CheckError: If a label differs, or a probability by more than `TOLERANCE`, and no tied vote
            explains it.
    """
    total = parity.images + parity.stress_inputs
    different = total - parity.labels_equal
    same_labels = different <= parity.tied_votes <= max(1, MAX_TIED_SHARE * total)
    if not (same_labels and parity.largest_difference <= TOLERANCE):  # NaN is refused too
        raise CheckError(
            f"the exported file differs from the run: {different} of {total} labels, probabilities "
            f"by up to {parity.largest_difference:.1e} (allowed {TOLERANCE:.0e}); "
            "no file was written"
        )


def _open_session(model: onnx.ModelProto) -> Any:
    return open_session(model.SerializeToString(), "cpu", Threads(spin=True)).session


def _make_batches(images: Iterable[Pixels]) -> Iterator[Pixels]:
    iterator = iter(images)
    for size in cycle(BATCH_SIZES):
        batch = list(islice(iterator, size))
        if not batch:
            return
        yield np.stack(batch)
