import doctest
import os
import pickle
import platform
import shutil
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import boats_runtime
from boats_runtime import classifier as classifier_module
from boats_runtime.classifier import Classifier
from boats_runtime.decoding import decode
from boats_runtime.errors import ImageError, UsageError
from boats_runtime.model_session import CPU_BATCH_SIZE
from boats_runtime.prediction import Failure, ImageInput, Prediction, Score
from support.toy_model import LABELS, ToyModel, make_pixels


@pytest.fixture
def toy(tmp_path: Path) -> Classifier:
    return Classifier(ToyModel().save(tmp_path / "toy.onnx"), "cpu")


@pytest.fixture
def paths(dataset_folder: Path) -> list[Path]:
    return sorted(dataset_folder.glob("valid/*/*.jpg"))


# --- predict


def test_predict__returns_the_output_of_run(classifier: Classifier, paths: list[Path]) -> None:
    names = classifier.metadata.labels
    for path in paths:
        pixels = classifier.metadata.preprocessing.apply(decode(path))
        probabilities, labels = classifier.run(pixels[np.newaxis])
        prediction = classifier.predict(path)
        scores = [score.score for score in prediction.top]
        assert prediction.label == prediction.top[0].label == names[labels[0]]
        assert prediction.score == scores[0]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-6)
        assert {score.label: score.score for score in prediction.top} == dict(
            zip(names, probabilities[0].tolist(), strict=True)
        )
        assert prediction.latency_ms > 0


def test_predict__separates_the_classes(classifier: Classifier, dataset_folder: Path) -> None:
    paths = sorted(dataset_folder.glob("*/*/*.jpg"))
    correct = sum(classifier.predict(path).label == path.parent.name for path in paths)
    assert correct >= 0.8 * len(paths)


def test_predict__source_types_are_equivalent(classifier: Classifier, image_path: Path) -> None:
    with Image.open(image_path) as image:
        sources = [image_path, str(image_path), image_path.read_bytes(), decode(image_path), image]
        sources.append(np.asarray(decode(image_path)))
        predictions = [classifier.predict(source) for source in sources]
    assert {prediction.top for prediction in predictions} == {predictions[0].top}
    names = [prediction.name for prediction in predictions]
    assert names == [str(image_path), str(image_path), "", "", "", ""]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros(6, np.uint8),
        np.zeros((4, 6, 2), np.uint8),
        np.zeros((1, 4, 6, 3), np.uint8),
        np.zeros((4, 6, 3)),
        np.zeros((0, 6, 3), np.uint8),
    ],
    ids=str,
)
def test_predict__invalid_pixels(toy: Classifier, pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected pixels"):
        toy.predict(pixels)


def test_predict__broken_image(classifier: Classifier, tmp_path: Path, image_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image_path.read_bytes()[:500])
    for source in (broken, str(broken), broken.read_bytes(), tmp_path / "missing.jpg", b""):
        with pytest.raises(ImageError):
            classifier.predict(source)
    assert classifier.predict(image_path).top


@pytest.mark.parametrize("strongest", range(3))
def test_predict__color_channels(toy: Classifier, strongest: int) -> None:
    color = [10, 11, 12]
    color[strongest] = 15
    prediction = toy.predict(Image.new("RGB", (50, 20), tuple(color)))
    assert prediction.label == LABELS[strongest]
    weights = np.exp(np.asarray(color, float))
    expected = dict(zip(LABELS, weights / weights.sum(), strict=True))
    for score in prediction.top:
        assert score.score == pytest.approx(expected[score.label], abs=1e-6)


def test_predict__label_output_breaks_ties(toy: Classifier) -> None:
    prediction = toy.predict(Image.new("RGB", (50, 20), "gray"))
    assert [score.label for score in prediction.top] == ["blue", "red", "green"]


# --- predict_many


def test_predict_many__results_in_order(toy: Classifier, paths: list[Path]) -> None:
    given = Failure("no images in this folder", "empty")
    images = [source for path in paths for source in (path, ImageInput("broken", b"x"), given)]
    outcomes = list(toy.predict_many(images))
    assert [(outcome.name, outcome.top) for outcome in outcomes[::3]] == [
        (str(path), toy.predict(path).top) for path in paths
    ]
    for failure in outcomes[1::3]:
        assert isinstance(failure, ImageError)
        assert (failure.name, failure.exit_code) == ("broken", 1)
    assert all(failure is given for failure in outcomes[2::3])


def test_predict_many__infinite_stream(toy: Classifier, paths: list[Path]) -> None:
    taken = []

    def read_forever() -> Iterator[Path]:
        while True:
            taken.append(paths[0])
            yield paths[0]

    stream = toy.predict_many(read_forever())
    for _ in range(20):
        next(stream)
    stream.close()
    assert len(taken) <= 20 + 3 * CPU_BATCH_SIZE


def test_predict_many__decoded_images_run_in_one_batch(
    toy: Classifier, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = toy.run

    def read_batches(
        function: Callable[[Path], object], images: Iterable[Path], depth: int, size: int
    ) -> Iterator[list[object]]:
        assert (depth, size) == (2 * CPU_BATCH_SIZE, CPU_BATCH_SIZE)
        yield [function(path) for path in images]

    def record(pixels: np.ndarray) -> object:
        sizes.append(len(pixels))
        return run(pixels)

    monkeypatch.setattr(classifier_module, "prefetch_batches", read_batches)
    monkeypatch.setattr(toy, "run", record)
    names = [outcome.name for outcome in toy.predict_many([*paths[:3], b"broken", *paths[3:]])]
    assert names == [*map(str, paths[:3]), "", *map(str, paths[3:])]
    assert sizes == [len(paths)]


# --- records


def test_prediction__name_does_not_affect_equality() -> None:
    prediction = Prediction((Score("topa", 0.75), Score("gòndola", 0.25)), 1.5)
    assert prediction == replace(prediction, name="a.jpg")
    assert prediction != replace(prediction, latency_ms=2.0)


def test_failure__can_be_pickled() -> None:
    failure = pickle.loads(pickle.dumps(Failure("empty name", "a.jpg")))  # noqa: S301
    assert (type(failure), str(failure), failure.name) == (Failure, "empty name", "a.jpg")


# --- classifier


@pytest.mark.parametrize(
    ("target", "flag", "expected"),
    [("vnni", "avx2", True), ("any", "avx2", False), ("vnni", "avx512_vnni", False)],
)
def test_compatibility_warning__int8_file_for_other_cpus(
    toy: Classifier, monkeypatch: pytest.MonkeyPatch, target: str, flag: str, expected: bool
) -> None:
    assert toy.compatibility_warning == ""
    proof = {"quantization": {"target": target}}
    toy.metadata = replace(toy.metadata, provenance={"proof": proof})
    monkeypatch.setattr(classifier_module, "cpu_flags", lambda: frozenset({flag}))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert ("--target any" in toy.compatibility_warning) is expected
    assert toy.caution == toy.compatibility_warning


def test_classifier__threads_get_the_same_results(toy: Classifier) -> None:
    images = make_pixels(50)
    expected = [toy.predict(pixels).top for pixels in images] * 10

    def predict(number: int) -> tuple[Score, ...]:
        return toy.predict(images[number % 50]).top

    def read_memory() -> tuple[int, int]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return tracemalloc.get_traced_memory()[0], pages * os.sysconf("SC_PAGE_SIZE")

    tracemalloc.start()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(predict, range(500))) == expected
        traced_before, resident_before = read_memory()
        for _ in range(10):
            assert list(pool.map(predict, range(500))) == expected
        traced, resident = read_memory()
    tracemalloc.stop()
    assert traced - traced_before < 1e6
    assert resident - resident_before < 20e6


def test_classifier__context_manager_closes_it(tmp_path: Path) -> None:
    with Classifier(ToyModel().save(tmp_path / "toy.onnx"), "cpu") as toy:
        toy.warm_up()
        toy.predict(make_pixels(1)[0])
    for call in (toy.warm_up, lambda: toy.predict(make_pixels(1)[0])):
        with pytest.raises(UsageError, match="this classifier is closed"):
            call()
    toy.close()


def test_classifier__docstring_examples(
    tiny_model: Path, image_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tiny_model, tmp_path / "boats.onnx")
    shutil.copy(image_path, tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(classifier_module)
    assert (result.failed, result.attempted) == (0, 4)


def test_boats_runtime__exports_the_documented_names() -> None:
    assert boats_runtime.Classifier is Classifier
    assert (boats_runtime.Prediction, boats_runtime.Score) == (Prediction, Score)
    with pytest.raises(AttributeError, match="no attribute 'Detector'"):
        boats_runtime.Detector  # noqa: B018
