"""A run that the code before version 0.2.0 wrote.

`boats-train --backbone shufflenet_v2_x0_5 --tune off` trained `data/old_run.zip` on the synthetic
images of the tests. Its weights have two values per layer, so that the file is small.
`data/old_run.json` has the probabilities that the old code computed for `draw_images`.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from boats_runtime.preprocessing import Preprocessing
from boats_train.models.calibrated_svc import CalibratedSVC
from boats_train.runs.run import load_run, write_run
from support.process import run_module

DATA = Path(__file__).with_name("data")
COLORS = ((190, 60, 50), (30, 40, 60), (60, 150, 190))


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old_run")
    shutil.unpack_archive(DATA / "old_run.zip", folder)
    return folder


@pytest.fixture(scope="module")
def expected() -> NDArray[np.float64]:
    return np.array(json.loads((DATA / "old_run.json").read_text()))


def draw_images() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:64, :160]
    images = np.full((6, 64, 160, 3), 120, np.uint8)
    for number, image in enumerate(images):
        heights, widths = rows - 20 - 4 * number, columns - 40 - 12 * number
        inside = heights**2 / 200 + widths**2 / (300 + 400 * number) < 1
        image[inside] = COLORS[number % 3]
    return images


def predict(folder: Path) -> NDArray[np.float64]:
    run = load_run(folder)
    with torch.inference_mode():
        features = run.network(torch.from_numpy(draw_images())).numpy()
    return run.estimator.predict_proba(features)


def test_load_run__old_run_gives_the_same_probabilities(
    old_run: Path, expected: NDArray[np.float64]
) -> None:
    np.testing.assert_allclose(predict(old_run), expected, rtol=0, atol=1e-6)


def test_load_run__old_run_is_complete(old_run: Path) -> None:
    run = load_run(old_run)
    assert isinstance(run.estimator, CalibratedSVC)
    assert (run.config.model, run.config.learning_rate, run.config.batch_size) == ("svm", 0.0, 0)
    assert run.preprocessing == Preprocessing(64, 160, version=1)
    assert run.classes == ("barca lunga", "gòndola", "topa")
    assert run.metrics["splits"]["train"]["photos"] == 13
    assert run.metrics["cross_validation"]["chosen"]["cost"] == 1.0
    assert run.metrics["operating_point"]["threshold"] == 0.48


def test_write_run__old_run_written_again(
    old_run: Path, expected: NDArray[np.float64], tmp_path: Path
) -> None:
    folder = write_run(load_run(old_run), tmp_path, "new")
    for name in ("config.json", "metrics.json", "versions.json"):
        assert (folder / name).read_bytes() == (old_run / name).read_bytes()
    np.testing.assert_allclose(predict(folder), expected, rtol=0, atol=1e-6)


def test_load_run__imports_no_training_code(old_run: Path) -> None:
    result = run_module("support.list_modules", "support.load_run:main", old_run, check=True)
    modules = set(result.stdout.split())
    assert "boats_train.models.calibrated_svc" in modules
    unwanted = ("boats_train.svm", "boats_train.finetune", "boats_train.features")
    assert not [name for name in modules if name.startswith(unwanted)]
    assert modules.isdisjoint({"tensorboard", "torch.utils.tensorboard", "matplotlib"})
