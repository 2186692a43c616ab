"""Exports that must not write a file."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from boats_export import export
from boats_export.export import Exporter, ExportSettings
from boats_export.verification_images import VerificationImages
from boats_export.verify import FileOutputs
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError, DataError, ModelError, OutputError
from boats_runtime.model import metadata as runtime_metadata
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.refit import refit_run
from boats_train.runs.run import Run
from support.limits import limit_file_size

pytestmark = pytest.mark.usefixtures("quick_network")

INT8 = ExportSettings("int8", max_drop=100, target="vnni")


def export_file(run: Run, out: Path, settings: ExportSettings = ExportSettings()) -> None:  # noqa: B008
    Exporter(run, settings, lambda _: None).export(out)


# Faults: each changes one step of the export, and the verification has to notice it.

Fault = Callable[[pytest.MonkeyPatch, Run], None]


def change_network(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray | None]
) -> None:
    """Change the first constant of the exported network for which `change` returns values."""
    original = export.export_network

    def export_changed(*arguments: Any) -> onnx.ModelProto:
        network = original(*arguments)
        for tensor in network.graph.initializer:
            values = change(onnx.numpy_helper.to_array(tensor))
            if values is not None:
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
                return network
        raise AssertionError("nothing was changed")

    monkeypatch.setattr(export, "export_network", export_changed)


def halve_the_mean(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    change_network(
        monkeypatch,
        lambda values: values * np.float32(0.5) if values.shape == (1, 3, 1, 1) else None,
    )


def swap_red_and_blue(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    def reverse_channels(values: np.ndarray) -> np.ndarray | None:
        is_first_layer = values.ndim == 4 and values.shape[1] == 3
        return values[:, ::-1].copy() if is_first_layer else None

    change_network(monkeypatch, reverse_channels)


def change_the_resampling(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    class Nearest(Preprocessing):
        def apply(
            self,
            image: Image.Image,
            extent: tuple[float, float] | None = None,  # noqa: ARG002
        ) -> np.ndarray:
            size = (self.width, self.height)
            return np.asarray(image.convert("RGB").resize(size, Image.Resampling.NEAREST))

    class Reader(Preprocessing):
        @classmethod
        def from_json(cls, value: object) -> Preprocessing:
            preprocessing = Preprocessing.from_json(value)
            return Nearest(
                preprocessing.height, preprocessing.width, preprocessing.mean, preprocessing.std
            )

    monkeypatch.setattr(runtime_metadata, "Preprocessing", Reader)


def change_the_classes(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> None:
    original = export.build_metadata

    def build_changed(run: Run, proof: dict[str, Any]) -> ModelMetadata:
        return original(replace(run, classes=change(run.classes)), proof)

    monkeypatch.setattr(export, "build_metadata", build_changed)


def reverse_the_classes(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    change_the_classes(monkeypatch, lambda classes: classes[::-1])


def replace_the_classifier(
    monkeypatch: pytest.MonkeyPatch, replacement: Callable[[Any], Any]
) -> None:
    original = export.export_classifier

    def export_replacement(estimator: Any, *arguments: Any, **options: Any) -> onnx.ModelProto:
        return original(replacement(estimator), *arguments, **options)

    monkeypatch.setattr(export, "export_classifier", export_replacement)


def export_another_classifier(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    features = np.random.default_rng(0).random((30, 512), dtype=np.float32)
    paths = [Path(f"{number}.jpg") for number in range(30)]
    other = refit_run(run, features, np.arange(30) % 3, paths).estimator
    replace_the_classifier(monkeypatch, lambda _: other)


def change_the_calibration(monkeypatch: pytest.MonkeyPatch, _: Run) -> None:
    def recalibrate(estimator: CalibratedSVC) -> CalibratedSVC:
        other = CalibratedSVC(estimator.pipeline)
        other.classes_, other.offsets_ = estimator.classes_, estimator.offsets_
        other.slope_ = estimator.slope_ * 1.05
        return other

    replace_the_classifier(monkeypatch, recalibrate)


CLASSIFIER_FAULTS = [reverse_the_classes, export_another_classifier, change_the_calibration]
FAULTS = [halve_the_mean, swap_red_and_blue, change_the_resampling, *CLASSIFIER_FAULTS]


@pytest.mark.parametrize(
    ("fault", "settings"),
    [(fault, ExportSettings()) for fault in FAULTS]
    + [(fault, INT8) for fault in CLASSIFIER_FAULTS],
)
def test_exporter__faulty_export(
    loaded_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fault: Fault, settings: ExportSettings,
) -> None:  # fmt: skip
    out = tmp_path / "boats.onnx"
    out.write_text("older")
    fault(monkeypatch, loaded_run)
    message = "the exported file differs from the run: .*; no file was written"
    with pytest.raises(CheckError, match=message):
        export_file(loaded_run, out, settings)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_exporter__more_classes_than_probabilities(
    loaded_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_the_classes(monkeypatch, lambda classes: (*classes, "vaporetto"))
    with pytest.raises(ModelError, match="probabilities"):
        export_file(loaded_run, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("max_drop", [None, 10.0, 100.0])
def test_exporter__quantized_model_loses_a_class(
    loaded_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_drop: float | None
) -> None:
    def refit_without_first_class(*arguments: Any) -> Run:
        run = refit_run(*arguments)
        run.estimator.offsets_[0] = -1000.0
        return run

    monkeypatch.setattr(export, "refit_run", refit_without_first_class)
    settings = replace(INT8, max_drop=max_drop)
    with pytest.raises(CheckError, match=r"loss is too large: .*no file was written"):
        export_file(loaded_run, tmp_path / "boats.onnx", settings)
    assert list(tmp_path.iterdir()) == []


# On CUDA, fp16 has another arithmetic. The CPU stands in for the device in these tests.


def change_outputs_on_cuda(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[FileOutputs], FileOutputs]
) -> None:
    original = export.run_file

    def run_file(model: Path, images: VerificationImages, provider: str = "cpu") -> FileOutputs:
        outputs = original(model, images, "cpu")
        return change(outputs) if provider == "cuda" else outputs

    monkeypatch.setattr(export, "run_file", run_file)


def lose_the_first_class(outputs: FileOutputs) -> FileOutputs:
    return replace(outputs, labels=np.maximum(outputs.labels, 1))


def overflow(outputs: FileOutputs) -> FileOutputs:
    return replace(outputs, probabilities=np.full_like(outputs.probabilities, np.nan))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose_the_first_class, r"on CUDA: accuracy loss is too large: .*no file was written"),
        (overflow, r"on CUDA: the probabilities of 11 of 11 images are not numbers.*fp32 or int8"),
    ],
)
def test_exporter__fp16_fails_on_cuda(
    loaded_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: Callable[[FileOutputs], FileOutputs], message: str,
) -> None:  # fmt: skip
    change_outputs_on_cuda(monkeypatch, change)
    with pytest.raises(CheckError, match=message):
        export_file(loaded_run, tmp_path / "boats.onnx", ExportSettings("fp16"))
    assert list(tmp_path.iterdir()) == []


def test_exporter__fp16_passes_on_cuda(
    loaded_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_outputs_on_cuda(monkeypatch, lambda outputs: outputs)
    out = tmp_path / "boats.onnx"
    export_file(loaded_run, out, ExportSettings("fp16"))
    proof = Classifier(out, "cpu").metadata.provenance["proof"]
    assert proof["fp16_arithmetic"] == "cuda"
    assert proof["on_cuda"]["accuracy"] == proof["after"]["accuracy"]
    assert proof["on_cuda"]["same_label_as_float32"] == proof["same_label_as_float32"]


def test_exporter__int8_needs_the_training_images(
    loaded_run: Run, dataset_folder: Path, tmp_path: Path
) -> None:
    for split in ("train", "valid"):
        shutil.copytree(dataset_folder / "valid", tmp_path / split)
    with pytest.raises(DataError, match="not the images that this run was trained on"):
        Exporter(loaded_run, INT8, lambda _: None, tmp_path)


@pytest.mark.parametrize("size", [0, 1_000_000])
def test_exporter__disk_is_full(loaded_run: Run, tmp_path: Path, size: int) -> None:
    out = tmp_path / "boats.onnx"
    out.write_text("older")
    with (
        limit_file_size(size),
        pytest.raises(OutputError, match=r"boats\.onnx: cannot be written: File too large"),
    ):
        export_file(loaded_run, out)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


@pytest.mark.parametrize("place", ["missing/boats.onnx", "file/boats.onnx", "folder"])
def test_exporter__path_is_not_writable(loaded_run: Run, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=f"{place}: cannot be written: "):
        export_file(loaded_run, tmp_path / place)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
