"""From a run to a file that is proved before it appears."""

import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from boats_export.accuracy_check import Accuracy, measure_accuracy, require_accuracy
from boats_export.assemble import Layout, assemble, metadata_of
from boats_export.classifier_graph import export_classifier
from boats_export.fp16 import convert_to_fp16
from boats_export.network import export_network
from boats_export.quantize import open_quantizer, resolve_target
from boats_export.space_to_depth import apply_space_to_depth
from boats_export.verification_images import HARD, Photos
from boats_export.verify import (
    TOLERANCE,
    Expected,
    compare,
    expect,
    require_parity,
    run_file,
    run_head,
    session_features,
    torch_features,
)
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError, DataError, OutputError
from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.progress import track
from boats_train.refit import refit_run
from boats_train.runs.run import Run

Log = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What file is wanted.

    Attributes:
        precision: `fp32`, `fp16` or `int8`.
        layout: What it looks like from outside.
        max_drop: As `require_accuracy` has it.
        target: Of int8: `auto`, `vnni` or `any`, see `quantize.Setting`.
    """

    precision: str = "fp32"
    layout: Layout = field(default_factory=Layout)
    max_drop: float | None = None
    target: str = "auto"


@dataclass(frozen=True)
class _Candidate:
    """A network with the classifier for it, what they say, and how they came about."""

    run: Run
    network: onnx.ModelProto
    expected: Expected
    details: dict[str, Any]


def export_run(
    run: Run, out: Path, valid: Photos, train: Photos | None, settings: Settings, log: Log
) -> ModelMetadata:
    """Exports a run; the file appears at its place only when it is proved.

    Args:
        run: What to export.
        out: The file; replaced when it is there already and the new one is proved.
        valid: What to prove it on.
        train: For int8: what the run learned from.
        settings: What file is wanted.
        log: Takes a line about what goes on.

    Returns:
        What the file says of itself, the proof in its provenance.

    Raises:
        CheckError: The file differs from what it was made of, or is too much worse than the run.
        DataError: There are too few photos to calibrate on.
        OutputError: The place can't be written, or the disk is full.
    """
    _check_learned(run, train)
    with _scratch_beside(out) as scratch:
        log("exporting the network and the classifier")
        network = export_network(run.network, run.preprocessing)
        log(f"asking PyTorch and scikit-learn about {len(valid)} photos and {len(HARD)} hard ones")
        original = expect(run, torch_features(run, valid))
        before = _accuracy(run, original, valid)
        made = _candidates(run, network, original, valid, train, settings, log)
        with closing(made) as candidates:
            chosen, after = _choose(candidates, valid, before, settings.max_drop, log)
        model = assemble(chosen.network, _make_head(chosen, settings.precision), settings.layout)
        _write(scratch, model, metadata_of(chosen.run, {}), out)
        log("comparing the file with what it was made of")
        outputs = run_file(scratch, valid)
        parity = compare(chosen.run, chosen.expected, outputs)
        require_parity(parity)
        proof = {
            "precision": settings.precision,
            "opset": settings.layout.opset,
            **asdict(parity),
            "tolerance": TOLERANCE,
            "same_label_as_float32": int((outputs.labels == original.labels).sum()),
            "before": before.to_json(),
            "after": after.to_json(),
            **chosen.details,
        }
        metadata = metadata_of(chosen.run, proof)
        _write(scratch, model, metadata, out)
        sealed = _reopen(scratch, valid, int(outputs.labels[0]))
        scratch.chmod(0o644)
        try:
            scratch.replace(out)
        except OSError as error:
            raise OutputError(f"{out}: can't be written: {error.strerror}") from error
    return sealed


def _check_learned(run: Run, train: Photos | None) -> None:
    """Checks that a classifier would be fitted again on the photos it learned from.

    Raises:
        DataError: They are others.
    """
    learned = run.metrics.get("data", {}).get("train")
    if train is not None and learned != train.digest:
        raise DataError(
            f"{train.paths[0].parent.parent}: not the photos that this run learned from, which "
            "int8 needs to fit its classifier again: give --data DIR, or train again"
        )


def _candidates(
    run: Run,
    network: onnx.ModelProto,
    original: Expected,
    valid: Photos,
    train: Photos | None,
    settings: Settings,
    log: Log,
) -> Generator[_Candidate]:
    """Yields networks of the precision that is wanted, the quickest first."""
    if settings.precision == "fp32":
        yield _Candidate(run, network, original, {})
    elif settings.precision == "fp16":
        half = convert_to_fp16(network)
        yield _Candidate(run, half, expect(run, _features(half, valid)), {})
    else:
        if train is None:
            raise ValueError("int8 needs the training photos")
        yield from _quantized(run, network, valid, train, settings, log)


def _quantized(
    run: Run, network: onnx.ModelProto, valid: Photos, train: Photos, settings: Settings, log: Log
) -> Generator[_Candidate]:
    """Yields quantised networks, each with the classifier fitted again on its features."""
    target = resolve_target(settings.target)
    with open_quantizer(apply_space_to_depth(network), train, target, run.config.seed) as quantizer:
        for one in quantizer.search():
            setting = one.setting
            log(
                f"int8: ranges by {setting.method}, {len(setting.floats)} layers in float: "
                f"features {one.distance:.1%} off; fitting the classifier again"
            )
            content = one.model.SerializeToString()
            learned = session_features(content, track(train, "features", len(train)))
            if np.abs(learned).max() < np.finfo(np.float16).max:
                # What is learned in float16 is stored in it without loss.
                learned = learned.astype(np.float16).astype(np.float32)
            features = _features(one.model, valid)
            refitted = refit_run(run, learned, train.targets, train.paths)
            without = _accuracy(run, expect(run, features), valid)
            details = {
                "without_refit": without.to_json(),
                "quantization": asdict(setting)
                | {"distance": one.distance, "tried": list(one.tried)},
            }
            yield _Candidate(refitted, one.model, expect(refitted, features), details)


def _choose(
    candidates: Iterable[_Candidate],
    valid: Photos,
    before: Accuracy,
    max_drop: float | None,
    log: Log,
) -> tuple[_Candidate, Accuracy]:
    """Returns the first candidate that passes the gate, and how good it is.

    Raises:
        CheckError: None does; it says what the last one lost.
    """
    refused = CheckError("nothing to choose from")
    for candidate in candidates:
        after = _accuracy(candidate.run, candidate.expected, valid)
        try:
            require_accuracy(before, after, max_drop)
        except CheckError as error:
            log(f"refused, {str(error).partition(' (')[0]}")
            refused = error
        else:
            return candidate, after
    raise refused


def _make_head(chosen: _Candidate, precision: str) -> onnx.ModelProto:
    """Converts the classifier; small files store it in 16 bits where the proof holds with that."""
    width = chosen.expected.features.shape[1]
    head = export_classifier(chosen.run.estimator, width)
    if precision == "fp32":
        return head
    half = export_classifier(chosen.run.estimator, width, half=True)
    outputs = run_head(half.SerializeToString(), chosen.expected.features, chosen.run.classes)
    try:
        require_parity(compare(chosen.run, chosen.expected, outputs))
    except CheckError:
        return head
    return half


def _features(network: onnx.ModelProto, valid: Photos) -> NDArray[np.float32]:
    pixels = track(valid.with_hard(), "features", len(valid) + len(HARD))
    return session_features(network.SerializeToString(), pixels)


def _accuracy(run: Run, expected: Expected, valid: Photos) -> Accuracy:
    return measure_accuracy(valid.targets, expected.labels[: len(valid)], run.classes)


def _reopen(scratch: Path, valid: Photos, label: int) -> ModelMetadata:
    """Opens the finished file as a user would, and returns what it says of itself."""
    classifier = Classifier(scratch, "cpu")
    _, labels = classifier.run(next(valid.with_hard())[np.newaxis])
    if labels.tolist() != [label]:
        raise CheckError("the finished file differs from the one that was proved; none was written")
    return classifier.metadata


@contextmanager
def _scratch_beside(out: Path) -> Iterator[Path]:
    """Yields a new file beside another, so that a rename can replace it; gone at the end."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    except OSError as error:
        raise OutputError(f"{out.parent}: can't be written: {error.strerror}") from error
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _write(scratch: Path, model: onnx.ModelProto, metadata: ModelMetadata, out: Path) -> None:
    onnx.helper.set_model_props(model, metadata.to_properties())
    content = write_digest(model.SerializeToString(deterministic=True))
    try:
        scratch.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{out}: can't be written: {error.strerror}") from error
