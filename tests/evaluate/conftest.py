"""What these tests share: files that see only colours, photos of colours, and results made up."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from boats_evaluate.evaluation import Evaluation, FileResult, evaluate
from boats_evaluate.file_metrics import measure_answers
from boats_evaluate.labeled_images import Photo
from boats_evaluate.predictions import Answers
from boats_metrics.paired import bootstrap_difference, mcnemar_test
from boats_runtime.classifier import Classifier
from boats_runtime.model.digest import write_digest
from boats_runtime.model.metadata import ModelMetadata
from boats_runtime.preprocessing import Preprocessing

LABELS = ("<script>", "green & co", "red")
"""What the strongest channel is called: blue, green and red, from red on backwards."""

RGB = {"<script>": (20, 30, 220), "green & co": (30, 220, 20), "red": (220, 20, 30)}
HEIGHT, WIDTH = 12, 40

SaveColours = Callable[..., Path]
MakeEvaluation = Callable[..., Evaluation]


@pytest.fixture(scope="session")
def save_colours() -> SaveColours:
    """Writes a file whose answer is the strongest colour of a photo.

    `save_colours(path, labels=LABELS, favour=(0, 0, 0), reduce="ReduceMean", threshold=0.5,
    size=(12, 40), batch=None)`: `favour` is added to the scores of the labels, before softmax.
    """

    def save(
        path: Path,
        labels: tuple[str, ...] = LABELS,
        favour: tuple[float, ...] = (0, 0, 0),
        reduce: str = "ReduceMean",
        threshold: float | None = 0.5,
        size: tuple[int, int] = (HEIGHT, WIDTH),
        batch: int | None = None,
    ) -> Path:
        # The channels are red, green, blue; the labels are in the reverse order.
        weights = np.zeros((3, 3), np.float32)
        weights[[0, 1, 2], [labels.index(name) for name in reversed(LABELS)]] = 0.02
        nodes = [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node(reduce, ["pixels", "axes"], ["colour"], keepdims=0),
            helper.make_node("Gemm", ["colour", "weights", "bias"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        photos = batch or "batch"
        graph = helper.make_graph(
            nodes,
            "colours",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [photos, *size, 3])],
            [
                helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [photos, 3]),
                helper.make_tensor_value_info("label", TensorProto.INT64, [photos]),
            ],
            [
                helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
                helper.make_tensor("weights", TensorProto.FLOAT, [3, 3], weights.ravel()),
                helper.make_tensor("bias", TensorProto.FLOAT, [3], favour),
            ],
        )
        opset = helper.make_opsetid("", 18)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        metadata = ModelMetadata(labels, Preprocessing(*size), threshold)
        helper.set_model_props(model, metadata.to_properties())
        onnx.checker.check_model(model)
        path.write_bytes(write_digest(model.SerializeToString()))
        return path

    return save


@pytest.fixture(scope="session")
def colours(save_colours: SaveColours, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that sees the strongest colour."""
    return save_colours(tmp_path_factory.mktemp("colours") / "colours.onnx")


@pytest.fixture(scope="session")
def reddish(save_colours: SaveColours, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the same labels that takes everything for red."""
    path = tmp_path_factory.mktemp("reddish") / "reddish.onnx"
    return save_colours(path, favour=(0, 0, 9), threshold=None)


def paint(path: Path, colour: Sequence[int], seed: int) -> None:
    """Writes a photo of one colour, a bit of noise in it."""
    noise = np.random.default_rng(seed).integers(-12, 12, (30, 90, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, "JPEG", quality=92)


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two days, 9 blue, 7 green and 4 red; two green ones look red, one red one blue.

    One name would break out of an attribute.
    """
    root = tmp_path_factory.mktemp("painted")
    for label, count in zip(LABELS, (9, 7, 4), strict=True):
        for number in range(count):
            seen = label
            if (label, number) in {("green & co", 0), ("green & co", 1)}:
                seen = "red"
            if (label, number) == ("red", 3):
                seen = "<script>"
            day = 20130304 + number % 2
            name = f'{day}_{number}"><img src=x>.jpg' if number == 1 else f"{day}_{number}.jpg"
            paint(root / label / name, RGB[seen], seed=number)
    return root


@pytest.fixture(scope="session")
def evaluated(colours: Path, reddish: Path, painted: Path) -> Evaluation:
    """Both files on the painted photos."""
    files = [(path, Classifier(path, "cpu")) for path in (colours, reddish)]
    return evaluate(files, painted)


@pytest.fixture(scope="session")
def make_evaluation() -> MakeEvaluation:
    """Makes up a result.

    `make_evaluation(labels, targets, *predicted, scores=None)`: of each file what it predicted; the
    photos have the digests 0, 1, ... and are not on the disk.
    """

    def make(
        labels: tuple[str, ...],
        targets: NDArray[np.int64],
        *predicted: NDArray[np.int64],
        scores: NDArray[np.float64] | None = None,
    ) -> Evaluation:
        count = len(targets)
        scores = np.full(count, 0.8) if scores is None else scores
        files = []
        for number, answer in enumerate(predicted):
            answers = Answers(answer, scores)
            pairing = change = None
            if number:
                pairing = mcnemar_test(predicted[0] == targets, answer == targets)
                change = bootstrap_difference(targets, predicted[0], answer)
            nothing = Answers(np.zeros(0, np.int64), np.zeros(0))
            result = FileResult(
                f"{number}.onnx", 10, "ab" * 32, "cpu", "fp32", 0.5, answers,
                measure_answers(targets, answers, labels, 0.5), nothing, pairing, change,
            )  # fmt: skip
            files.append(result)
        folder = Path("made/up")
        photos = (Photo(folder / f"{n}.jpg", labels[target]) for n, target in enumerate(targets))
        digests = (number.to_bytes(32, "big") for number in range(count))
        return Evaluation(
            folder, labels, tuple(photos), tuple(digests), targets, tuple(files), None, (), ()
        )

    return make
