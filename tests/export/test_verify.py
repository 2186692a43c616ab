import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from boats_export.verification_images import (
    STRESS_INPUTS,
    VerificationImages,
    load_verification_images,
)
from boats_export.verify import (
    TIE_TOLERANCE,
    TOLERANCE,
    FileOutputs,
    Parity,
    ReferenceOutputs,
    compare_outputs,
    compute_reference_outputs,
    compute_torch_features,
    require_parity,
    run_file,
)
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import Run

IMAGES = 7
TOTAL = IMAGES + len(STRESS_INPUTS)


@pytest.fixture(scope="module")
def validation(loaded_run: Run) -> VerificationImages:
    return load_verification_images(loaded_run, None, "valid")


@pytest.fixture(scope="module")
def reference(loaded_run: Run, validation: VerificationImages) -> ReferenceOutputs:
    return compute_reference_outputs(loaded_run, compute_torch_features(loaded_run, validation))


@pytest.fixture(scope="module")
def outputs(tiny_model: Path, validation: VerificationImages) -> FileOutputs:
    return run_file(tiny_model, validation)


def test_compute_reference_outputs__shapes(reference: ReferenceOutputs) -> None:
    assert reference.features.shape == (TOTAL, 512)
    assert reference.probabilities.shape == (TOTAL, 3)
    assert np.array_equal(reference.labels, reference.probabilities.argmax(axis=1))


def test_run_file__batches_of_1_2_and_7(
    tiny_model: Path, validation: VerificationImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = Classifier.run

    def record_size(self: Classifier, pixels: NDArray[np.uint8]) -> object:
        sizes.append(len(pixels))
        return run(self, pixels)

    monkeypatch.setattr(Classifier, "run", record_size)
    outputs = run_file(tiny_model, validation)
    assert sizes == [1, 2, 7, 1]
    assert outputs.probabilities.shape == (TOTAL, 3)


def test_compare_outputs__same(
    loaded_run: Run, reference: ReferenceOutputs, outputs: FileOutputs
) -> None:
    parity = compare_outputs(loaded_run, reference, outputs)
    assert parity.to_json() == {
        "photos": IMAGES,
        "hard_photos": len(STRESS_INPUTS),
        "labels_equal": TOTAL,
        "largest_difference": pytest.approx(0, abs=1e-5),
        "undecided": 0,
    }
    require_parity(parity)


def test_compare_outputs__names_in_another_order(
    loaded_run: Run, reference: ReferenceOutputs, outputs: FileOutputs
) -> None:
    other = replace(outputs, names=outputs.names[::-1])
    parity = compare_outputs(loaded_run, reference, other)
    assert parity.labels_equal < IMAGES
    with pytest.raises(CheckError):
        require_parity(parity)


@pytest.mark.parametrize("row", [0, IMAGES, -1], ids=["image", "black", "one pixel"])
@pytest.mark.parametrize("difference", [2 * TOLERANCE, math.nan, math.inf])
def test_compare_outputs__one_probability_differs(
    loaded_run: Run, reference: ReferenceOutputs, outputs: FileOutputs, row: int, difference: float
) -> None:
    probabilities = outputs.probabilities.copy()
    probabilities[row, 1] += difference
    other = replace(outputs, probabilities=probabilities)
    parity = compare_outputs(loaded_run, reference, other)
    assert parity.labels_equal == TOTAL
    assert not parity.largest_difference <= TOLERANCE
    with pytest.raises(CheckError):
        require_parity(parity)


def fit_tied_svc(distance: float) -> tuple[CalibratedSVC, NDArray[np.float32]]:
    """Return an SVM of three classes, and features.

    The decision between two classes has the value `distance` for the first features.
    """
    centers = np.repeat([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], 5, axis=0)
    training = centers + np.random.default_rng(0).normal(0, 0.3, centers.shape)
    targets = np.repeat(np.arange(3), 5)
    svc = SVC(kernel="linear", break_ties=True).fit(training, targets)
    estimator = CalibratedSVC(make_pipeline(svc)).fit(svc.decision_function(training), targets)
    weights, intercept = svc.coef_[0], svc.intercept_[0]
    features = np.tile([[4.0, 0.0]], (TOTAL, 1))
    features[0] = [2.0, 0.0]
    features[0] += weights * (distance - weights @ features[0] - intercept) / (weights @ weights)
    return estimator, features.astype(np.float32)


@pytest.mark.parametrize(
    ("distance", "tied_votes"), [(TIE_TOLERANCE / 10, 1), (TIE_TOLERANCE * 10, 0)]
)
def test_compare_outputs__tied_vote(loaded_run: Run, distance: float, tied_votes: int) -> None:
    estimator, features = fit_tied_svc(distance)
    run = replace(loaded_run, estimator=estimator)
    reference = compute_reference_outputs(run, features)
    other = compute_reference_outputs(run, fit_tied_svc(-distance)[1])
    assert reference.labels[0] != other.labels[0]
    outputs = FileOutputs(run.classes, other.probabilities.astype(np.float32), other.labels)
    parity = compare_outputs(run, reference, outputs)
    assert parity.tied_votes == tied_votes
    if tied_votes:
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
def test_require_parity__passes(parity: Parity) -> None:
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
def test_require_parity__fails(parity: Parity, message: str) -> None:
    allowed = re.escape(f"{message} (allowed 1e-04); no file was written")
    with pytest.raises(CheckError, match=allowed):
        require_parity(parity)
