import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

from boats_export.verify import TOLERANCE, Parity, compare, find_photos, require_parity
from boats_runtime.classifier import Classifier
from boats_runtime.errors import CheckError, DataError
from boats_train.network import FeatureNetwork
from boats_train.run import Run

Sabotage = Callable[[Run], Run]


def other_mean(run: Run) -> Run:
    preprocessing = replace(run.preprocessing, mean=(0.9, 0.1, 0.1))
    network = FeatureNetwork(run.network.backbone, preprocessing)
    return replace(run, preprocessing=preprocessing, network=network)


def other_estimator(run: Run) -> Run:
    svc = SVC(gamma="scale", break_ties=True)
    estimator = CalibratedClassifierCV(svc, method="sigmoid", ensemble=False, cv=2)
    features = np.random.default_rng(0).normal(size=(30, 512)).astype(np.float32)
    return replace(run, estimator=estimator.fit(features, np.arange(30) % 3))


def swapped_labels(run: Run) -> Run:
    first, second, *rest = run.classes
    return replace(run, classes=(second, first, *rest))


sabotages = pytest.mark.parametrize("sabotage", [other_mean, other_estimator, swapped_labels])


@pytest.fixture(scope="module")
def photos(photo_set: Path) -> list[Path]:
    """The photos of `valid` and `test`."""
    return sorted([*photo_set.glob("valid/*/*.jpg"), *photo_set.glob("test/*/*.jpg")])


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches that were run, in order."""
    seen: list[int] = []
    run = Classifier.run

    def watched(self: Classifier, pixels: NDArray[np.uint8]) -> Any:
        seen.append(len(pixels))
        return run(self, pixels)

    monkeypatch.setattr(Classifier, "run", watched)
    return seen


def test_find_photos__valid_of_the_set_trained_on(loaded_run: Run, photo_set: Path) -> None:
    photos = find_photos(loaded_run, None)
    assert len(photos) == 7
    assert photos == sorted((photo_set / "valid").glob("*/*.jpg"))


def test_find_photos__of_another_set(loaded_run: Run, tmp_path: Path) -> None:
    (tmp_path / "valid" / "topa").mkdir(parents=True)
    for name in ("1.JPG", "2.png", "notes.txt"):
        (tmp_path / "valid" / "topa" / name).touch()
    names = [path.name for path in find_photos(loaded_run, tmp_path)]
    assert names == ["1.JPG", "2.png"]


@pytest.mark.parametrize("there", [None, "valid/topa", "valid/photo.jpg"])
def test_find_photos__none(loaded_run: Run, tmp_path: Path, there: str | None) -> None:
    if there:
        (tmp_path / there).mkdir(parents=True)
    with pytest.raises(DataError, match=r"valid: no photos to verify .* give --data DIR"):
        find_photos(loaded_run, tmp_path)


def test_find_photos__data_has_moved(loaded_run: Run, tmp_path: Path) -> None:
    moved = replace(loaded_run, config=replace(loaded_run.config, data=str(tmp_path / "gone")))
    with pytest.raises(DataError, match=r"gone/valid: no photos"):
        find_photos(moved, None)


def test_compare__same(
    tiny_model: Path, loaded_run: Run, photos: list[Path], sizes: list[int]
) -> None:
    parity = compare(tiny_model, loaded_run, photos)
    assert (parity.photos, parity.labels_equal) == (11, 11)
    assert 0 <= parity.largest_difference <= TOLERANCE
    require_parity(parity)
    assert sizes == [1, 2, 7, 1]


@sabotages
def test_compare__other_run(
    tiny_model: Path, loaded_run: Run, photos: list[Path], sabotage: Sabotage
) -> None:
    parity = compare(tiny_model, sabotage(loaded_run), photos)
    assert parity.photos == 11
    with pytest.raises(CheckError, match="the exported file differs from the run: "):
        require_parity(parity)


def test_compare__probability_is_nan(
    tiny_model: Path, loaded_run: Run, photos: list[Path], tmp_path: Path
) -> None:
    """A file whose labels are right and whose probabilities are not numbers."""
    model = onnx.load(tiny_model)
    node = next(node for node in model.graph.node if "probabilities" in node.output)
    wrong = onnx.helper.make_node("Mul", ["real", "nan"], ["probabilities"])
    node.output[list(node.output).index("probabilities")] = "real"
    model.graph.node.append(wrong)
    nan = onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "nan")
    model.graph.initializer.append(nan)
    onnx.save(model, tmp_path / "nan.onnx")
    parity = compare(tmp_path / "nan.onnx", loaded_run, photos)
    assert parity.labels_equal == parity.photos
    assert math.isnan(parity.largest_difference)
    with pytest.raises(CheckError, match="by up to nan"):
        require_parity(parity)


def test_compare__corrupt_photos_are_passed_over(
    tiny_model: Path, loaded_run: Run, photos: list[Path], sizes: list[int], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:300])
    parity = compare(tiny_model, loaded_run, [broken, *photos[:2], broken, photos[2], broken])
    assert (parity.photos, parity.labels_equal) == (3, 3)
    assert sizes == [1, 2]


def test_compare__no_photo_can_be_read(tiny_model: Path, loaded_run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a photo")
    with pytest.raises(DataError, match="none of the 2 photos to verify the export on can be read"):
        compare(tiny_model, loaded_run, [tmp_path / "broken.jpg", tmp_path / "gone.jpg"])


def test_compare__photos_of_any_size(
    tiny_model: Path, loaded_run: Run, photos: list[Path], tmp_path: Path
) -> None:
    from PIL import Image

    with Image.open(photos[0]) as image:
        image.resize((31, 77)).convert("L").save(tmp_path / "grey.png")
    shutil.copy(photos[1], tmp_path / "same.jpg")
    require_parity(compare(tiny_model, loaded_run, sorted(tmp_path.iterdir())))


@pytest.mark.parametrize("difference", [0.0, 1e-6, TOLERANCE])
def test_require_parity__within_the_tolerance(difference: float) -> None:
    require_parity(Parity(7, 7, difference))


@pytest.mark.parametrize(
    ("parity", "message"),
    [
        (Parity(7, 6, 0.0), "1 of 7 labels, probabilities by up to 0.0e+00"),
        (Parity(7, 7, 1.1 * TOLERANCE), "0 of 7 labels, probabilities by up to 1.1e-04"),
        (Parity(7, 7, math.nan), "0 of 7 labels, probabilities by up to nan"),
        (Parity(7, 7, math.inf), "0 of 7 labels, probabilities by up to inf"),
    ],
)
def test_require_parity__breach(parity: Parity, message: str) -> None:
    allowed = re.escape(f"{message} (allowed 1e-04); no file was written")
    with pytest.raises(CheckError, match=allowed):
        require_parity(parity)
