import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

from boats_export.classifier_graph import export_classifier

TOLERANCE = 1e-5

CASES = {
    "balanced": ((20, 20, 20), 8),
    "two classes": ((30, 25), 8),
    "rare classes": ((60, 30, 12, 7, 5, 4, 3, 2, 2, 1, 1), 24),
    "two classes, one of them rare": ((40, 2), 8),
    "single photos only": ((1, 1, 1), 8),
    "as large as a real one": ((60,) * 16, 1280),
}


class Case:
    """An SVM fitted on clouds that overlap, photos that it has not seen, and its ONNX graph."""

    def __init__(self, counts: tuple[int, ...], width: int) -> None:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(len(counts), width))
        targets = np.repeat(np.arange(len(counts)), counts)
        self.features = _clouds(rng, centres, targets)
        self.unseen = _clouds(rng, centres, np.arange(70) % len(counts))
        svc = SVC(gamma="scale", break_ties=True)
        folds = _folds(targets)
        self.estimator = CalibratedClassifierCV(svc, method="sigmoid", ensemble=False, cv=folds)
        self.estimator.fit(self.features, targets)
        self.model = export_classifier(self.estimator, width)
        self.session = onnxruntime.InferenceSession(
            self.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def run(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        probabilities, labels = self.session.run(["probabilities", "label"], {"features": features})
        return probabilities, labels


def _clouds(
    rng: np.random.Generator, centres: NDArray[np.float64], targets: NDArray[np.int64]
) -> NDArray[np.float32]:
    noise = rng.normal(size=(len(targets), centres.shape[1]))
    return (centres[targets] + 1.5 * noise).astype(np.float32)


def _folds(targets: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Deals the photos to three folds; a class's only photo is in every training part."""
    fold = np.arange(len(targets)) % 3
    single = np.bincount(targets)[targets] == 1
    return [(np.flatnonzero((fold != n) | single), np.flatnonzero(fold == n)) for n in range(3)]


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_export_head__equals_scikit_learn(case: Case, batch: int) -> None:
    for start in range(0, 70, batch):
        some = case.unseen[start : start + batch]
        probabilities, labels = case.run(some)
        np.testing.assert_allclose(
            probabilities, case.estimator.predict_proba(some), rtol=0, atol=TOLERANCE
        )
        np.testing.assert_array_equal(labels, case.estimator.predict(some))


def test_export_head__probabilities_tell_photos_apart(case: Case) -> None:
    # Were they all alike, equality would prove little.
    probabilities, _ = case.run(case.unseen)
    assert np.ptp(probabilities, axis=0).max() > 100 * TOLERANCE


def test_export_head__label_is_of_the_highest_probability(case: Case) -> None:
    probabilities, labels = case.run(case.unseen)
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))


def test_export_head__probabilities_sum_to_one(case: Case) -> None:
    for scale in (0, 1, 100):  # also far from all that was learned
        probabilities, _ = case.run(case.unseen * np.float32(scale))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_export_head__types_and_shapes(case: Case) -> None:
    probabilities, labels = case.run(case.unseen)
    assert (probabilities.dtype, labels.dtype) == (np.float32, np.int64)
    assert probabilities.shape == (70, len(case.estimator.classes_))
    assert labels.shape == (70,)


def test_export_head__versions(case: Case) -> None:
    assert case.model.ir_version == 10
    versions = {entry.domain: entry.version for entry in case.model.opset_import}
    assert versions[""] == 18
    assert versions.get("ai.onnx.ml", 0) <= 5
    onnx.checker.check_model(case.model, full_check=True)
