"""The benchmarks measure the estimator that `boats-train` fits and `boats-export` converts."""

from pathlib import Path
from typing import get_type_hints

import numpy as np
import torch

import svm_graph
from boats_export.network import export_network
from boats_runtime.classifier import Classifier
from boats_train.svm.fit import FittedSVC
from suite.synthetic_models import PREPROCESSING, make_pixels, write_model
from suite.synthetic_svm import fit_calibrated_svms, make_features

WIDTH = 64
TOLERANCE = 1e-6
FP16_TOLERANCE = 2e-3


class ColorNetwork(torch.nn.Module):
    """Feature network: random combinations of the mean color."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.rand(3, WIDTH) / 128)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return features, (N, WIDTH) float32."""
        return pixels.float().mean((1, 2)) @ self.weights


def test_fit_calibrated_svms__is_the_estimator_of_training() -> None:
    calibrated, _ = fit_calibrated_svms(WIDTH)
    assert type(calibrated) is get_type_hints(FittedSVC)["estimator"]


def test_converted_svm__measures_the_calibrated_svc() -> None:
    svm = svm_graph.ConvertedSVM.create(WIDTH)
    features = make_features(8, WIDTH)
    expected = svm.calibrated.predict_proba(features.astype(np.float64))
    backends = svm.open(threads=1)
    for name in ("scikit-learn", "graph"):
        assert np.abs(backends[name](features) - expected).max() < TOLERANCE
    values = dict.fromkeys(svm_graph.BACKENDS, np.ones((5, 1, 1), dtype=np.int64))
    assert svm_graph.make_row(svm, 8, values)["estimator"] == "CalibratedSVC"


def test_write_model__contains_the_calibrated_svc(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ColorNetwork().eval()
    path = write_model(export_network(network, PREPROCESSING), tmp_path / "model.onnx")
    pixels = make_pixels(2)
    probabilities, _ = Classifier(path, "cpu").run(pixels)
    with torch.inference_mode():
        features = network(torch.from_numpy(pixels)).numpy()
    calibrated, _ = fit_calibrated_svms(WIDTH)
    assert np.abs(probabilities - calibrated.predict_proba(features)).max() < FP16_TOLERANCE
