import doctest
import os
import platform
import shutil
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
from PIL import Image

import boats_runtime
from boats_runtime import classifier as classifier_module
from boats_runtime.classifier import BATCH, Classifier, Prediction, Score
from boats_runtime.errors import ImageError, ModelError, UsageError
from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing, decode

HEIGHT, WIDTH = 4, 6
LABELS = ("red", "green", "blue")


def save_toy(path: Path, **changes: object) -> Path:
    """Writes a model of the right interface: the likeliest class is the strongest channel.

    Args:
        path: The file.
        changes: What to do otherwise.
    """
    options = {
        "input": "image",
        "input_type": TensorProto.UINT8,
        "input_shape": ["batch", HEIGHT, WIDTH, 3],
        "probabilities": "probabilities",
        "probabilities_type": TensorProto.FLOAT,
        "label": "label",
        "label_type": TensorProto.INT64,
        "keepdims": 0,
        "labels": LABELS,
        "outputs": 2,
        "features_of": None,
        "features_type": TensorProto.FLOAT,
        "metadata": True,
    }
    unknown = set(changes) - set(options)
    assert not unknown
    options |= changes
    batch = options["input_shape"][0]
    nodes = [
        helper.make_node("Cast", [options["input"]], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Softmax", ["mean"], ["softmax"], axis=1),
        # The last of equal ones: not what sorting the probabilities would put first.
        helper.make_node(
            "ArgMax", ["softmax"], ["index"], axis=1, keepdims=options["keepdims"],
            select_last_index=1,
        ),
        helper.make_node(
            "Cast", ["softmax"], [options["probabilities"]], to=options["probabilities_type"]
        ),
        helper.make_node("Cast", ["index"], [options["label"]], to=options["label_type"]),
    ]  # fmt: skip
    label_shape = [batch, 1] if options["keepdims"] else [batch]
    outputs = [
        helper.make_tensor_value_info(
            options["probabilities"], options["probabilities_type"], [batch, 3]
        ),
        helper.make_tensor_value_info(options["label"], options["label_type"], label_shape),
        helper.make_tensor_value_info("mean", TensorProto.FLOAT, [batch, 3]),
    ]
    outputs = outputs[: options["outputs"]]
    shape = options["input_shape"]
    if options["features_of"]:
        source, kind = options["features_of"], options["features_type"]
        nodes.append(helper.make_node("Cast", [source], ["features"], to=kind))
        shape_of = {"mean": [batch, 3], "index": label_shape, "pixels": shape}
        outputs.append(helper.make_tensor_value_info("features", kind, shape_of[source]))
    value = helper.make_tensor_value_info(options["input"], options["input_type"], shape)
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    graph = helper.make_graph(nodes, "toy", [value], outputs, [axes])
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    if options["metadata"]:
        metadata = ModelMetadata(options["labels"], Preprocessing(HEIGHT, WIDTH))
        helper.set_model_props(model, metadata.to_properties())
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    path.write_bytes(write_digest(content) if options["metadata"] else content)
    return path


def noise(count: int) -> NDArray[np.uint8]:
    """Pixels for the toy, each photo with a colour of its own."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 200, (count, 1, 1, 3))
    return (colours + rng.integers(0, 50, (count, HEIGHT, WIDTH, 3))).astype(np.uint8)


@pytest.fixture
def toy(tmp_path: Path) -> Classifier:
    return Classifier(save_toy(tmp_path / "toy.onnx"), "cpu")


@pytest.fixture
def photos(dataset_folder: Path) -> list[Path]:
    return sorted(dataset_folder.glob("valid/*/*.jpg"))


# --- predict


def test_predict__is_what_run_says(classifier: Classifier, photos: list[Path]) -> None:
    for photo in photos:
        pixels = classifier.metadata.preprocessing.apply(decode(photo))
        probabilities, labels = classifier.run(pixels[np.newaxis])
        prediction = classifier.predict(photo)
        names = classifier.metadata.labels
        assert prediction.label == names[labels[0]]
        scores = {score.label: score.score for score in prediction.top}
        assert scores == dict(zip(names, probabilities[0].tolist(), strict=True))


def test_predict__all_classes_the_likeliest_first(
    classifier: Classifier, photos: list[Path]
) -> None:
    for photo in photos:
        prediction = classifier.predict(photo)
        scores = [score.score for score in prediction.top]
        assert {score.label for score in prediction.top} == set(classifier.metadata.labels)
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-6)
        assert (prediction.label, prediction.score) == (prediction.top[0].label, scores[0])
        assert all(type(score) is float and 0 <= score <= 1 for score in scores)
        assert prediction.latency_ms > 0


def test_predict__tells_the_classes_apart(classifier: Classifier, dataset_folder: Path) -> None:
    photos = sorted(dataset_folder.glob("*/*/*.jpg"))
    right = sum(classifier.predict(photo).label == photo.parent.name for photo in photos)
    assert right >= 0.8 * len(photos)


def test_predict__every_kind_of_photo_is_the_same(classifier: Classifier, image_path: Path) -> None:
    with Image.open(image_path) as image:
        given = [image_path, str(image_path), image_path.read_bytes(), decode(image_path), image]
        first, *others = (classifier.predict(source).top for source in given)
    assert others == [first] * 4


def test_predict__broken_photo(classifier: Classifier, tmp_path: Path, image_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(image_path.read_bytes()[:500])
    for source in (broken, str(broken), broken.read_bytes(), tmp_path / "none.jpg", b""):
        with pytest.raises(ImageError):
            classifier.predict(source)
    assert classifier.predict(image_path).top


@pytest.mark.parametrize("strongest", range(3))
def test_predict__colours(tmp_path: Path, strongest: int) -> None:
    classifier = Classifier(save_toy(tmp_path / "toy.onnx"), "cpu")
    colour = [10, 11, 12]
    colour[strongest] = 15
    prediction = classifier.predict(Image.new("RGB", (50, 20), tuple(colour)))
    assert prediction.label == LABELS[strongest]
    weights = np.exp(np.asarray(colour, float))
    expected = dict(zip(LABELS, weights / weights.sum(), strict=True))
    for score in prediction.top:
        assert score.score == pytest.approx(expected[score.label], abs=1e-6)


def test_predict__equal_scores_follow_the_files_own_label(tmp_path: Path) -> None:
    classifier = Classifier(save_toy(tmp_path / "toy.onnx"), "cpu")
    prediction = classifier.predict(Image.new("RGB", (50, 20), "grey"))
    assert [score.label for score in prediction.top] == ["blue", "red", "green"]


def test_prediction__label_and_score_are_the_first() -> None:
    prediction = Prediction((Score("topa", 0.75), Score("gòndola", 0.25)), 1.5)
    assert (prediction.label, prediction.score) == ("topa", 0.75)


# --- run


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_run__batches_agree(classifier: Classifier, photos: list[Path], batch: int) -> None:
    assert len(photos) == 7
    pixels = np.stack([classifier.metadata.preprocessing.apply(decode(path)) for path in photos])
    single = [classifier.run(pixels[index : index + 1]) for index in range(7)]
    parts = [classifier.run(pixels[start : start + batch]) for start in range(0, 7, batch)]
    probabilities, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert (probabilities.shape, probabilities.dtype) == ((7, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((7,), np.int64)
    np.testing.assert_allclose(probabilities, np.concatenate([p for p, _ in single]), atol=1e-5)
    np.testing.assert_array_equal(labels, np.concatenate([label for _, label in single]))
    assert len(np.unique(np.round(probabilities, 3), axis=0)) > 1


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_run__fixed_batch_is_as_any_other(tmp_path: Path, batch: int, count: int) -> None:
    fixed = save_toy(tmp_path / "fixed.onnx", input_shape=[batch, HEIGHT, WIDTH, 3])
    expected, expected_labels = Classifier(save_toy(tmp_path / "toy.onnx"), "cpu").run(noise(count))
    probabilities, labels = Classifier(fixed, "cpu").run(noise(count))
    assert (probabilities.shape, probabilities.dtype) == ((count, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("batch", [1, 4])
def test_predict__fixed_batch_is_as_any_other(
    tmp_path: Path, photos: list[Path], batch: int
) -> None:
    fixed = save_toy(tmp_path / "fixed.onnx", input_shape=[batch, HEIGHT, WIDTH, 3])
    closed, open_ = Classifier(fixed, "cpu"), Classifier(save_toy(tmp_path / "toy.onnx"), "cpu")
    for photo in photos:
        expected = open_.predict(photo)
        prediction = closed.predict(photo)
        assert prediction.label == expected.label
        assert prediction.score == pytest.approx(expected.score, abs=1e-6)


# --- embed


@pytest.mark.parametrize("batch", ["batch", 1, 4])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_embed__gives_the_features(tmp_path: Path, batch: str | int, count: int) -> None:
    shape = [batch, HEIGHT, WIDTH, 3]
    path = save_toy(tmp_path / "toy.onnx", input_shape=shape, features_of="mean")
    classifier = Classifier(path, "cpu")
    features = classifier.embed(noise(count))
    assert (features.shape, features.dtype) == ((count, 3), np.float32)
    np.testing.assert_allclose(features, noise(count).mean(axis=(1, 2)), rtol=1e-5)
    probabilities, labels = classifier.run(noise(count))
    np.testing.assert_array_equal(labels, features.argmax(axis=1))
    assert probabilities.shape == (count, 3)


@pytest.mark.parametrize("batch", ["batch", 4])
def test_embed__file_without_features(tmp_path: Path, batch: str | int) -> None:
    path = save_toy(tmp_path / "toy.onnx", input_shape=[batch, HEIGHT, WIDTH, 3])
    classifier = Classifier(path, "cpu")
    with pytest.raises(UsageError, match="--with-features"):
        classifier.embed(noise(2))
    assert len(classifier.run(noise(2))[1]) == 2


# --- what is opened


def test_classifier__reports_provider_and_metadata(
    classifier: Classifier, tiny_model: Path
) -> None:
    assert (classifier.provider, classifier.selection_reason) == ("cpu", "asked for")
    assert classifier.metadata.labels == ("barca lunga", "gòndola", "topa")
    assert classifier.metadata.preprocessing == Preprocessing(64, 160)
    assert Classifier(str(tiny_model), "cpu").metadata == classifier.metadata


def test_classifier__missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: no such model file"):
        Classifier(tmp_path / "none.onnx")


def test_classifier__folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        Classifier(tmp_path)


def test_classifier__no_onnx_file(image_path: Path) -> None:
    with pytest.raises(ModelError, match=r"00\.jpg: not an ONNX model"):
        Classifier(image_path, "cpu")


def test_classifier__model_of_others(tmp_path: Path) -> None:
    path = save_toy(tmp_path / "toy.onnx", metadata=False)
    with pytest.raises(ModelError, match="export it with boats-export") as caught:
        Classifier(path, "cpu")
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"input": "input"},
        {"input_type": TensorProto.FLOAT},
        {"input_shape": ["batch", HEIGHT, WIDTH + 1, 3]},
        {"input_shape": ["batch", 3, HEIGHT, WIDTH]},
        {"input_shape": ["batch", "height", "width", 3]},
        {"input_shape": [1, HEIGHT, WIDTH + 1, 3]},
        {"input_shape": [4, 3, HEIGHT, WIDTH]},
    ],
    ids=str,
)
def test_classifier__another_input(tmp_path: Path, changes: dict[str, object]) -> None:
    path = save_toy(tmp_path / "toy.onnx", **changes)
    with pytest.raises(ModelError, match=r"its input is not image \(N, 4, 6, 3\) uint8"):
        Classifier(path, "cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"probabilities": "scores"},
        {"probabilities_type": TensorProto.DOUBLE},
        {"label": "index_of_label"},
        {"label_type": TensorProto.INT32},
        {"keepdims": 1},
        {"labels": ("red", "green")},
        {"labels": ("red", "green", "blue", "grey")},
        {"outputs": 1},
        {"outputs": 3},
        {"outputs": 3, "features_of": "mean"},
        {"features_of": "mean", "features_type": TensorProto.DOUBLE},
        {"features_of": "mean", "features_type": TensorProto.INT64},
        {"features_of": "index"},
        {"features_of": "pixels"},
        {"input_shape": [4, HEIGHT, WIDTH, 3], "label_type": TensorProto.INT32},
        {"input_shape": [4, HEIGHT, WIDTH, 3], "features_of": "pixels"},
    ],
    ids=str,
)
def test_classifier__other_outputs(tmp_path: Path, changes: dict[str, object]) -> None:
    path = save_toy(tmp_path / "toy.onnx", **changes)
    with pytest.raises(ModelError, match="its outputs are not probabilities"):
        Classifier(path, "cpu")


# --- the package


def test_boats_runtime__offers_the_classifier() -> None:
    assert boats_runtime.Classifier is Classifier
    assert (boats_runtime.Prediction, boats_runtime.Score) == (Prediction, Score)


def test_boats_runtime__unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Detector'"):
        boats_runtime.Detector  # noqa: B018


def test_run__fixed_batch_and_no_photo(tmp_path: Path) -> None:
    fixed = Classifier(save_toy(tmp_path / "x.onnx", input_shape=[4, HEIGHT, WIDTH, 3]), "cpu")
    probabilities, labels = fixed.run(noise(4)[:0])
    assert (len(probabilities), len(labels)) == (0, 0)


def test_run__fixed_batch_and_pixels_of_another_type(tmp_path: Path) -> None:
    fixed = Classifier(save_toy(tmp_path / "x.onnx", input_shape=[4, HEIGHT, WIDTH, 3]), "cpu")
    for pixels in (noise(1).astype(np.float32), noise(1)[:, 1:], noise(1)[0]):
        with pytest.raises(UsageError, match=r"are not \(N, 4, 6, 3\) uint8"):
            fixed.run(pixels)


def test_classifier__fixed_batch_of_none(tmp_path: Path) -> None:
    model = save_toy(tmp_path / "x.onnx", input_shape=[0, HEIGHT, WIDTH, 3])
    with pytest.raises(ModelError, match="its input is not image"):
        Classifier(model, "cpu")


def test_predict_many__as_one_by_one_and_in_order(
    toy: Classifier, photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:300])
    first, second, *_ = toy.predict_many([photos[0], broken, *photos[1:]])
    assert isinstance(first, Prediction)
    assert first.top == toy.predict(photos[0]).top
    assert isinstance(second, ImageError)


def test_predict_many__photos_without_end(toy: Classifier, photos: list[Path]) -> None:
    taken = []

    def endless() -> Iterator[Path]:
        while True:
            taken.append(photos[0])
            yield photos[0]

    stream = toy.predict_many(endless())
    for _ in range(20):
        next(stream)
    stream.close()
    assert len(taken) <= 20 + 3 * BATCH


def test_predict__pixels(toy: Classifier) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    assert toy.predict(pixels).top == toy.predict(Image.fromarray(pixels)).top


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3)),
        np.zeros((0, 6, 3), np.uint8),
    ],
    ids=str,
)  # fmt: skip
def test_predict__pixels_of_another_kind(toy: Classifier, pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"are not \(height, width, 3\) uint8"):
        toy.predict(pixels)


@pytest.mark.parametrize(
    ("target", "flags", "cautious"),
    [("vnni", {"avx2"}, True), ("any", {"avx2"}, False), ("vnni", {"avx512_vnni"}, False)],
)
def test_caution__int8_made_for_other_cpus(
    toy: Classifier, monkeypatch: pytest.MonkeyPatch, target: str, flags: set[str], cautious: bool
) -> None:
    assert toy.caution == ""
    proof = {"quantization": {"target": target}}
    toy.metadata = replace(toy.metadata, provenance={"proof": proof})
    monkeypatch.setattr(classifier_module, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert ("--target any" in toy.caution) is cautious


@pytest.mark.parametrize("broken", ["label", "shape", "nan", "error"])
def test_run__model_that_answers_nonsense(
    toy: Classifier, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    probabilities, labels = toy.run(noise(2))

    class Broken:
        def run(self, *_: object) -> list[NDArray]:
            if broken == "error":
                raise RuntimeError("Non-zero status code\nby a node")
            if broken == "label":
                return [probabilities, labels + 9]
            return [probabilities[:1] if broken == "shape" else probabilities * np.nan, labels]

    monkeypatch.setattr(toy, "_session", Broken())
    words = "fails on this input: Non-zero status code$" if broken == "error" else "no probabilit"
    with pytest.raises(ModelError, match=words):
        toy.run(noise(2))


# --- many at once


def test_predict_many__ready_photos_go_together(
    toy: Classifier, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    run = toy.run

    def slow(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        sizes.append(len(pixels))
        time.sleep(0.1)
        return run(pixels)

    monkeypatch.setattr(toy, "run", slow)
    assert len(list(toy.predict_many(photos * 8))) == sum(sizes) == 8 * len(photos)
    assert BATCH in sizes


def test_predict_many__broken_ones_among_good(toy: Classifier, photos: list[Path]) -> None:
    mixed: list[Path | bytes] = []
    for path in photos:
        mixed += [path, b"broken"]
    outcomes = list(toy.predict_many(mixed))
    assert [outcome.label for outcome in outcomes[::2]] == [
        toy.predict(path).label for path in photos
    ]
    assert all(isinstance(outcome, ImageError) for outcome in outcomes[1::2])


def test_predict_many__nothing(toy: Classifier) -> None:
    assert list(toy.predict_many([])) == []


def test_run__accelerators_see_two_shapes(tmp_path: Path) -> None:
    toy = Classifier(save_toy(tmp_path / "toy.onnx"), "cpu")
    expected = toy.run(noise(11))[0]
    shapes: set[tuple[int, ...]] = set()

    class Watched:
        def __init__(self, session: InferenceSession) -> None:
            self._session = session

        def run(self, names: list[str], feeds: dict[str, NDArray[np.uint8]]) -> list[NDArray]:
            shapes.add(feeds["image"].shape)
            return self._session.run(names, feeds)

    toy._session = Watched(toy._session)
    toy.provider = "cuda"
    for count in (1, 2, 5, 8, 11):
        np.testing.assert_allclose(toy.run(noise(11)[:count])[0], expected[:count], atol=1e-6)
    assert shapes == {(1, HEIGHT, WIDTH, 3), (BATCH, HEIGHT, WIDTH, 3)}


def test_classifier__many_threads_get_the_same_answers(toy: Classifier) -> None:
    inputs = noise(50)
    expected = [toy.predict(pixels) for pixels in inputs]

    def ask(number: int) -> tuple[Score, ...]:
        return toy.predict(inputs[number % 50]).top

    tracemalloc.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(500)))
        before, grown = tracemalloc.get_traced_memory()[0], resident()
        for _ in range(20):
            for number, top in enumerate(pool.map(ask, range(500))):
                assert top == expected[number % 50].top
        after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 1e6
    assert resident() - grown < 20e6


def resident() -> float:
    """Returns this process's memory in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- open and close


def test_classifier__is_a_context_manager(tmp_path: Path) -> None:
    with Classifier(save_toy(tmp_path / "toy.onnx"), "cpu") as toy:
        toy.predict(noise(1)[0])
    with pytest.raises(UsageError, match="this classifier is closed"):
        toy.predict(noise(1)[0])
    toy.close()


def test_warm_up__runs_the_model(toy: Classifier) -> None:
    toy.warm_up()
    toy.close()
    with pytest.raises(UsageError, match="this classifier is closed"):
        toy.warm_up()


@pytest.fixture
def with_files(
    tiny_model: Path, image_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder holds `boats.onnx` and `image_path.jpg`, as the examples have it."""
    shutil.copy(tiny_model, tmp_path / "boats.onnx")
    shutil.copy(image_path, tmp_path / "image_path.jpg")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("with_files")
def test_classifier__its_examples() -> None:
    result = doctest.testmod(classifier_module)
    assert (result.failed, result.attempted) == (0, 4)


@pytest.mark.usefixtures("with_files")
def test_classifier__examples_of_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "predict.md"
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (result.failed, result.attempted) == (0, 10)
