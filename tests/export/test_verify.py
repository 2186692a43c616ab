import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sklearn.svm import SVC

from boats_export.verification_images import HARD, Photos, load_verification_images
from boats_export.verify import (
    EDGE,
    TOLERANCE,
    Expected,
    Outputs,
    Parity,
    compare,
    expect,
    require_parity,
    run_file,
    torch_features,
)
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run

PHOTOS = 7


@pytest.fixture(scope="module")
def valid(loaded_run: Run) -> Photos:
    return load_verification_images(loaded_run, None, "valid")


@pytest.fixture(scope="module")
def expected(loaded_run: Run, valid: Photos) -> Expected:
    return expect(loaded_run, torch_features(loaded_run, valid))


@pytest.fixture(scope="module")
def outputs(tiny_model: Path, valid: Photos) -> Outputs:
    return run_file(tiny_model, valid)


def test_expect__photos_then_hard_ones(expected: Expected) -> None:
    assert expected.features.shape == (PHOTOS + len(HARD), 512)
    assert expected.probabilities.shape == (PHOTOS + len(HARD), 3)
    assert np.array_equal(expected.labels, expected.probabilities.argmax(axis=1))


def test_run_file__in_batches_of_1_2_and_7(
    tiny_model: Path, valid: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = Classifier.run

    def watched(self: Classifier, pixels: NDArray[np.uint8]) -> object:
        sizes.append(len(pixels))
        return run(self, pixels)

    monkeypatch.setattr(Classifier, "run", watched)
    outputs = run_file(tiny_model, valid)
    assert sizes == [1, 2, 7, 1]
    assert outputs.probabilities.shape == (PHOTOS + len(HARD), 3)


def test_compare__same(loaded_run: Run, expected: Expected, outputs: Outputs) -> None:
    parity = compare(loaded_run, expected, outputs)
    assert (parity.photos, parity.hard_photos, parity.labels_equal) == (PHOTOS, 4, PHOTOS + 4)
    assert 0 <= parity.largest_difference <= 1e-5
    assert parity.undecided == 0
    require_parity(parity)


def test_compare__names_in_another_order(
    loaded_run: Run, expected: Expected, outputs: Outputs
) -> None:
    parity = compare(loaded_run, expected, replace(outputs, names=outputs.names[::-1]))
    assert parity.labels_equal < PHOTOS
    with pytest.raises(CheckError):
        require_parity(parity)


@pytest.mark.parametrize("row", [0, PHOTOS, -1], ids=["photo", "black", "pixel"])
@pytest.mark.parametrize("value", [2 * TOLERANCE, math.nan, math.inf])
def test_compare__one_probability_is_off(
    loaded_run: Run, expected: Expected, outputs: Outputs, row: int, value: float
) -> None:
    probabilities = outputs.probabilities.copy()
    probabilities[row, 1] += value
    parity = compare(loaded_run, expected, replace(outputs, probabilities=probabilities))
    assert parity.labels_equal == PHOTOS + 4
    assert not parity.largest_difference <= TOLERANCE
    with pytest.raises(CheckError):
        require_parity(parity)


def on_the_edge(distance: float) -> tuple[CalibratedSVC, NDArray[np.float32]]:
    """An SVM of three classes, and photos of which one is so far from a tie of two of them."""
    centres = np.repeat([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], 5, axis=0)
    features = centres + np.random.default_rng(0).normal(0, 0.3, centres.shape)
    targets = np.repeat(np.arange(3), 5)
    svc = SVC(kernel="linear", break_ties=True).fit(features, targets)
    estimator = CalibratedSVC(svc_pipeline(svc)).fit(svc.decision_function(features), targets)
    weights, intercept = svc.coef_[0], svc.intercept_[0]
    photos = np.tile([[4.0, 0.0]], (PHOTOS + len(HARD), 1))
    photos[0] = np.array([2.0, 0.0])
    photos[0] += weights * (distance - weights @ photos[0] - intercept) / (weights @ weights)
    return estimator, photos.astype(np.float32)


def svc_pipeline(svc: SVC) -> object:
    from sklearn.pipeline import Pipeline

    return Pipeline([("svc", svc)])


@pytest.mark.parametrize(("distance", "undecided"), [(EDGE / 10, 1), (EDGE * 10, 0)])
def test_compare__a_vote_that_was_a_tie(loaded_run: Run, distance: float, undecided: int) -> None:
    estimator, features = on_the_edge(distance)
    run = replace(loaded_run, estimator=estimator)
    expected = expect(run, features)
    other = expect(run, on_the_edge(-distance)[1])
    assert expected.labels[0] != other.labels[0]
    flipped = Outputs(run.classes, other.probabilities.astype(np.float32), other.labels)
    parity = compare(run, expected, flipped)
    assert parity.undecided == undecided
    if undecided:
        require_parity(parity)
    else:
        with pytest.raises(CheckError):
            require_parity(parity)


@pytest.mark.parametrize(
    "parity",
    [
        Parity(396, 4, 400, 0.0, 0),
        Parity(396, 4, 400, TOLERANCE, 0),
        Parity(396, 4, 399, 0.0, 1),
        Parity(396, 4, 396, 0.0, 4),
        Parity(7, 4, 10, 0.0, 1),
    ],
)
def test_require_parity__let_through(parity: Parity) -> None:
    require_parity(parity)


@pytest.mark.parametrize(
    ("parity", "message"),
    [
        (Parity(7, 4, 10, 0.0, 0), "1 of 11 labels, probabilities by up to 0.0e+00"),
        (Parity(7, 4, 11, 1.1 * TOLERANCE, 0), "0 of 11 labels, probabilities by up to 1.1e-04"),
        (Parity(7, 4, 11, math.nan, 0), "0 of 11 labels, probabilities by up to nan"),
        (Parity(7, 4, 11, math.inf, 0), "0 of 11 labels, probabilities by up to inf"),
        (Parity(396, 4, 398, 0.0, 1), "2 of 400 labels, probabilities by up to 0.0e+00"),
        (Parity(396, 4, 395, 0.0, 5), "5 of 400 labels, probabilities by up to 0.0e+00"),
        (Parity(7, 4, 9, 0.0, 2), "2 of 11 labels, probabilities by up to 0.0e+00"),
    ],
)
def test_require_parity__breach(parity: Parity, message: str) -> None:
    allowed = re.escape(f"{message} (allowed 1e-04); no file was written")
    with pytest.raises(CheckError, match=allowed):
        require_parity(parity)


def test_run_file__nothing_is_left_of_the_metadata_of_onnx(tiny_model: Path) -> None:
    """The graph says nothing of the code, the folders and the machine that it was made on."""
    model = onnx.load(tiny_model)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert str(Path.home()).encode() not in tiny_model.read_bytes()
