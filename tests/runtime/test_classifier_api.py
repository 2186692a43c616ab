"""What `Classifier` accepts, refuses and exports, beside its predictions."""

import gc
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import boats_runtime
from boats_runtime.classifier import Classifier
from boats_runtime.errors import BoatsError, ImageError
from boats_runtime.prediction import Prediction
from support.toy_model import HEIGHT, LABELS, WIDTH, ToyModel, make_pixels


@pytest.fixture
def toy(tmp_path: Path) -> Classifier:
    return Classifier(ToyModel(threshold=0.4).save(tmp_path / "toy.onnx"), "cpu")


# --- types


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        (["a.jpg", "b.jpg"], "got list: give several images to predict_many"),
        (("a.jpg",), "got tuple: give several images to predict_many"),
        (None, "got NoneType"),
        (bytearray(b"x"), r"got bytearray: convert it with bytes\(\)"),
        (7, "got int"),
    ],
    ids=repr,
)
def test_predict__type_error_with_a_hint(toy: Classifier, image: Any, hint: str) -> None:
    message = f"^expected an image .path, bytes, Pillow image or uint8 array., {hint}$"
    for function in (toy.predict, toy.prepare, toy):
        with pytest.raises(TypeError, match=message):
            function(image)
    with pytest.raises(TypeError, match=message):
        list(toy.predict_many([image]))


@pytest.mark.parametrize("image", ["photo.jpg", Path("photo.jpg"), None], ids=repr)
def test_embed__type_error_with_a_hint(toy: Classifier, image: Any) -> None:
    for function in (toy.embed, toy.run):
        with pytest.raises(TypeError, match=r"classifier\.prepare\(image\)\[None\], got "):
            function(image)


@pytest.mark.parametrize(
    "image",
    ["photo.jpg", Path("photo.jpg"), b"x", bytearray(b"x"), Image.new("RGB", (9, 9))],
    ids=lambda image: type(image).__name__,
)
def test_predict_many__one_image_is_a_type_error(toy: Classifier, image: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected several images, got one \w+: use predict$"):
        toy.predict_many(image)


def test_predict_many__batch_of_pixels(toy: Classifier) -> None:
    pixels = make_pixels(3)
    assert [outcome.top for outcome in toy.predict_many(pixels)] == [
        toy.predict(image).top for image in pixels
    ]
    with pytest.raises(TypeError, match="got one ndarray"):
        toy.predict_many(pixels[0])


# --- pixels


def test_predict__gray_pixels(toy: Classifier) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    assert toy.predict(gray).top == toy.predict(np.stack([gray] * 3, axis=2)).top


def test_predict__rgba_pixels_on_white(toy: Classifier) -> None:
    rgba = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    rgba[:, :3] = (200, 10, 20, 255)
    assert np.array_equal(toy.prepare(rgba)[0, 0], (200, 10, 20))
    assert np.array_equal(toy.prepare(rgba)[0, -1], (255, 255, 255))


# --- unknown


@pytest.mark.parametrize(("threshold", "unknown"), [(None, False), (0.3, False), (0.4, True)])
def test_prediction__unknown_below_the_threshold(
    tmp_path: Path, threshold: float | None, unknown: bool
) -> None:
    model = ToyModel(threshold=threshold).save(tmp_path / "toy.onnx")
    gray = Image.new("RGB", (50, 20), "gray")  # score 1/3
    with Classifier(model, "cpu") as classifier:
        assert classifier.predict(gray).unknown is unknown
        assert [outcome.unknown for outcome in classifier.predict_many([gray])] == [unknown]


# --- members


def test_classifier__labels_and_repr(toy: Classifier, tmp_path: Path) -> None:
    assert toy.labels == LABELS
    assert repr(toy) == f"Classifier({str(tmp_path / 'toy.onnx')!r}, provider='cpu')"
    toy.close()
    assert "toy.onnx" in repr(toy)


def test_classifier__call_is_predict(toy: Classifier) -> None:
    pixels = make_pixels(1)[0]
    assert isinstance(toy(pixels), Prediction)
    assert toy(pixels).top == toy.predict(pixels).top


def test_classifier__is_pickled_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ToyModel().save(tmp_path / "toy.onnx")
    monkeypatch.chdir(tmp_path)
    toy = Classifier("toy.onnx", "cpu", threads=1, spin=True)
    content = pickle.dumps(toy)
    assert len(content) < 500 + len(str(tmp_path))
    monkeypatch.chdir("/")
    with pickle.loads(content) as copy:  # noqa: S301
        assert (copy.provider, copy.metadata) == ("cpu", toy.metadata)
        assert pickle.dumps(copy) == content
        pixels = make_pixels(1)[0]
        assert copy.predict(pixels).top == toy.predict(pixels).top


def test_boats_runtime__exports_its_errors() -> None:
    assert boats_runtime.BoatsError is BoatsError
    assert boats_runtime.ImageError is ImageError


def test_boats_runtime__dir_lists_the_exports() -> None:
    names = {"BoatsError", "Classifier", "Failure", "ImageError", "Prediction", "Score"}
    assert names <= set(boats_runtime.__all__) <= set(dir(boats_runtime))
    assert all(getattr(boats_runtime, name) is not None for name in boats_runtime.__all__)


# --- threads


def read_forever() -> Iterator[np.ndarray]:
    while True:
        yield make_pixels(1)[0]


def test_predict_many__abandoned_stream_leaves_no_threads(toy: Classifier) -> None:
    before = threading.enumerate()
    stream = toy.predict_many(read_forever())
    next(stream)
    assert len(threading.enumerate()) > len(before)
    del stream
    gc.collect()
    assert threading.enumerate() == before


@pytest.mark.parametrize("failing", ["images", "model", "caller"])
def test_predict_many__error_leaves_no_threads(
    toy: Classifier, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = threading.enumerate()

    def read_images() -> Iterator[np.ndarray]:
        yield from make_pixels(9)
        if failing == "images":
            raise ZeroDivisionError
        yield from read_forever()

    def classify() -> None:
        for number, _ in enumerate(toy.predict_many(read_images())):
            if number == 5 and failing == "model":
                monkeypatch.setattr(toy._session, "_session", object())
            if number == 5 and failing == "caller":
                raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, BoatsError)) as caught:
        classify()
    assert caught.tb is not None  # the traceback is alive
    gc.collect()
    assert threading.enumerate() == before
