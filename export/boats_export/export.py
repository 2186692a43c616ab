"""Export of a run to a file that is verified before it appears."""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from boats_export.accuracy_check import Accuracy, require_accuracy
from boats_export.assemble import Layout, assemble, build_metadata
from boats_export.classifier_graph import export_classifier
from boats_export.fp16 import convert_to_fp16
from boats_export.network import export_network
from boats_export.quantize import Quantizer, resolve_target
from boats_export.space_to_depth import apply_space_to_depth
from boats_export.verification_images import (
    STRESS_INPUTS,
    VerificationImages,
    load_verification_images,
)
from boats_export.verify import (
    TOLERANCE,
    FileOutputs,
    ReferenceOutputs,
    compare_outputs,
    compute_onnx_features,
    compute_reference_outputs,
    compute_torch_features,
    require_parity,
    run_classifier_graph,
    run_file,
)
from boats_runtime.classifier import Classifier
from boats_runtime.cli.app import Log
from boats_runtime.errors import CheckError, DataError, ProviderError
from boats_runtime.files import atomic_path, scratch_folder
from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.progress import track
from boats_train.refit import refit_run
from boats_train.runs.run import Run


@dataclass(frozen=True)
class ExportSettings:
    """Properties of the exported file.

    Attributes:
        precision: `fp32`, `fp16` or `int8`.
        layout: Interface of the file.
        max_drop, allow_lost_classes: Largest loss of accuracy, see `require_accuracy`.
        target: CPUs for int8: `auto`, `vnni` or `any`, see `quantize.Setting`.
    """

    precision: str = "fp32"
    layout: Layout = field(default_factory=Layout)
    max_drop: float | None = None
    target: str = "auto"
    allow_lost_classes: bool = False


@dataclass(frozen=True)
class _Candidate:
    """Network that may be exported.

    Attributes:
        run: Run with the classifier for the network's features.
        network: Model from `image` to `features`.
        reference: Outputs of network and classifier for the validation images.
        details: Entries for the proof, JSON values.
    """

    run: Run
    network: onnx.ModelProto
    reference: ReferenceOutputs
    details: dict[str, Any]


class Exporter:
    """Export of one run.

    Args:
        run: Run to export.
        settings: Properties of the file.
        log: Function that takes lines about the progress.
        data: Dataset to verify on; None for the one that the run was trained on.

    Raises:
        DataError: If there are no validation images, or int8 lacks the images that the run was
            trained on.
    """

    def __init__(
        self, run: Run, settings: ExportSettings, log: Log, data: Path | None = None
    ) -> None:
        self._run = run
        self._settings = settings
        self._log = log
        self._validation = load_verification_images(run, data, "valid")
        self._training = _load_training_images(run, data) if settings.precision == "int8" else None

    def export(self, out: Path) -> ModelMetadata:
        """Write the file; it appears, or replaces an older one, only after its verification.

        Args:
            out: Path of the file.

        Returns:
            Metadata of the file, with the proof in its provenance.

        Raises:
            CheckError: If the file differs from the run, or loses too much accuracy.
            DataError: If there are too few training images for int8.
            OutputError: If the file cannot be written.
        """
        with atomic_path(out) as scratch:
            self._log("exporting the network and the classifier")
            network = export_network(self._run.network, self._run.preprocessing)
            self._log(
                f"running PyTorch and scikit-learn on {len(self._validation)} validation images "
                f"and {len(STRESS_INPUTS)} stress inputs"
            )
            features = compute_torch_features(self._run, self._validation)
            original = compute_reference_outputs(self._run, features)
            before = self._compute_accuracy(self._run, original)
            with closing(self._make_candidates(network, original, out)) as candidates:
                candidate, after = self._choose_candidate(candidates, before)
            model = assemble(
                candidate.network, self._export_classifier(candidate), self._settings.layout
            )
            _write_model(scratch, model, build_metadata(candidate.run, {}))
            self._log("comparing the file with the run")
            outputs = run_file(scratch, self._validation)
            parity = compare_outputs(candidate.run, candidate.reference, outputs)
            require_parity(parity)
            fp16 = self._check_fp16_on_cuda(scratch, original, before)
            proof = {
                "precision": self._settings.precision,
                "opset": self._settings.layout.opset,
                **parity.to_json(),
                "tolerance": TOLERANCE,
                "same_label_as_float32": int((outputs.labels == original.labels).sum()),
                "before": before.to_json(),
                "after": after.to_json(),
                **candidate.details,
                **fp16,
            }
            _write_model(scratch, model, build_metadata(candidate.run, proof))
            return self._reopen(scratch, int(outputs.labels[0]))

    def _make_candidates(
        self, network: onnx.ModelProto, original: ReferenceOutputs, out: Path
    ) -> Generator[_Candidate]:
        """Yield networks of the requested precision, the fastest first."""
        if self._training is not None:
            with scratch_folder(out) as folder:
                yield from self._quantize(network, self._training, folder)
        elif self._settings.precision == "fp16":
            network = convert_to_fp16(network)
            features = self._compute_features(network)
            reference = compute_reference_outputs(self._run, features)
            yield _Candidate(self._run, network, reference, {})
        else:
            yield _Candidate(self._run, network, original, {})

    def _quantize(
        self, network: onnx.ModelProto, training: VerificationImages, folder: Path
    ) -> Generator[_Candidate]:
        """Yield quantized networks, each with the classifier refitted on its features."""
        run = self._run
        target = resolve_target(self._settings.target)
        network = apply_space_to_depth(network)
        quantizer = Quantizer(network, training, target, run.config.seed, folder)
        for count, quantized in enumerate(quantizer.search(), 1):
            setting = quantized.setting
            self._log(
                f"int8: ranges by {setting.method}, {len(setting.float_layers)} layers in "
                f"float, features differ by {quantized.distance:.1%}; refitting the classifier"
            )
            pixels = track(training, "features", len(training))
            features = compute_onnx_features(quantized.model, pixels)
            if np.abs(features).max() < np.finfo(np.float16).max:
                # Support vectors that are fitted in float16 are stored in it without loss.
                features = features.astype(np.float16).astype(np.float32)
            refitted = refit_run(run, features, training.images.targets, training.images.paths)
            features = self._compute_features(quantized.model)
            without_refit = compute_reference_outputs(run, features)
            details = {
                "candidates": count,
                "without_refit": self._compute_accuracy(run, without_refit).to_json(),
                "quantization": setting.to_json()
                | {"distance": quantized.distance, "tried": list(quantizer.trials)},
            }
            reference = compute_reference_outputs(refitted, features)
            yield _Candidate(refitted, quantized.model, reference, details)

    def _choose_candidate(
        self, candidates: Iterable[_Candidate], before: Accuracy
    ) -> tuple[_Candidate, Accuracy]:
        """Return the first candidate that passes the accuracy check, and its accuracy.

        Raises:
            CheckError: If none passes; the message is that of the last one.
        """
        refusal = CheckError("no candidate to choose from")
        for candidate in candidates:
            after = self._compute_accuracy(candidate.run, candidate.reference)
            try:
                self._require_accuracy(before, after)
            except CheckError as error:
                self._log(f"refused: {str(error).partition(' (')[0]}")
                refusal = error
            else:
                return candidate, after
        raise refusal

    def _check_fp16_on_cuda(
        self, path: Path, original: ReferenceOutputs, before: Accuracy
    ) -> dict[str, Any]:
        """Check the accuracy of an fp16 file on CUDA, because the CPU computes it in float32.

        Returns:
            Entries for the proof; empty for another precision.

        Raises:
            CheckError: If the file loses too much accuracy on CUDA.
        """
        if self._settings.precision != "fp16":
            return {}
        try:
            outputs = run_file(path, self._validation, "cuda")
        except ProviderError as error:
            self._log(f"float16 arithmetic is not verified: {error}")
            return {"fp16_arithmetic": "storage only"}
        broken = int((~np.isfinite(outputs.probabilities)).any(axis=1).sum())
        if broken:
            raise CheckError(
                f"on CUDA: the probabilities of {broken} of {len(outputs.labels)} images are not "
                "numbers, probably because features exceed the range of float16; no file was "
                "written; use --precision fp32 or int8"
            )
        accuracy = self._compute_accuracy(self._run, outputs)
        try:
            self._require_accuracy(before, accuracy)
        except CheckError as error:
            raise CheckError(f"on CUDA: {error}") from error
        same = int((outputs.labels == original.labels).sum())
        on_cuda = accuracy.to_json() | {"same_label_as_float32": same}
        return {"fp16_arithmetic": "cuda", "on_cuda": on_cuda}

    def _export_classifier(self, candidate: _Candidate) -> onnx.ModelProto:
        """Convert the classifier; in fp16 and int8 files with float16 vectors if parity holds."""
        run, reference = candidate.run, candidate.reference
        width = reference.features.shape[1]
        if self._settings.precision != "fp32":
            graph = export_classifier(run.estimator, width, fp16=True)
            outputs = run_classifier_graph(graph, reference.features, run.classes)
            try:
                require_parity(compare_outputs(run, reference, outputs))
            except CheckError:
                pass
            else:
                return graph
        return export_classifier(run.estimator, width)

    def _compute_features(self, network: onnx.ModelProto) -> NDArray[np.float32]:
        images = self._validation.with_stress_inputs("features")
        return compute_onnx_features(network, images)

    def _require_accuracy(self, before: Accuracy, after: Accuracy) -> None:
        settings = self._settings
        require_accuracy(
            before,
            after,
            settings.max_drop,
            allow_lost_classes=settings.allow_lost_classes,
        )

    def _compute_accuracy(self, run: Run, outputs: ReferenceOutputs | FileOutputs) -> Accuracy:
        labels = outputs.labels[: len(self._validation)]
        return Accuracy.compute(self._validation.images.targets, labels, run.classes)

    def _reopen(self, path: Path, expected_label: int) -> ModelMetadata:
        """Open the finished file as a user would, and return its metadata."""
        classifier = Classifier(path, "cpu")
        _, labels = classifier.run(next(iter(self._validation))[np.newaxis])
        if labels.tolist() != [expected_label]:
            raise CheckError("the finished file differs from the verified one; no file was written")
        return classifier.metadata


def _load_training_images(run: Run, data: Path | None) -> VerificationImages:
    """Load the images on which int8 refits the classifier.

    Raises:
        DataError: If they are not the images that the run was trained on.
    """
    training = load_verification_images(run, data, "train")
    if run.metrics.get("data", {}).get("train") != training.digest:
        raise DataError(
            f"{training.images.paths[0].parent.parent}: not the images that this run was trained "
            "on, which int8 needs to refit the classifier: give --data DIR, or train again"
        )
    return training


def _write_model(path: Path, model: onnx.ModelProto, metadata: ModelMetadata) -> None:
    onnx.helper.set_model_props(model, metadata.to_properties())
    path.write_bytes(write_digest(model.SerializeToString(deterministic=True)))
