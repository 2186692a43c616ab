"""Decisions of a search whose candidates are stored, so that nothing is trained or exported."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from boats_data.dataset import Dataset, scan_dataset
from boats_runtime.errors import OutputError, UsageError
from boats_runtime.files import lock_folder
from boats_train.runs.config import TrainConfig
from boats_train.search import search
from boats_train.search.candidates import Architecture, measure_architecture
from boats_train.search.exported import Latency
from boats_train.search.frontier import Accuracy, Budget
from boats_train.search.results import CandidateResult, ResultStore
from boats_train.search.search import Search, SearchSpace
from boats_train.svm.grid_search import DEFAULT_CANDIDATE

NAME = "shufflenet_v2_x0_5"
SMALL, LARGE = (Architecture(NAME, "none", size) for size in ((64, 64), (128, 128)))
STAGES = {"decode": 1.0, "preprocess": 1.0, "inference": 2.0, "post": 0.5}

Run = Callable[..., dict[str, CandidateResult]]


@pytest.fixture
def dataset(dataset_folder: Path) -> Dataset:
    return scan_dataset(dataset_folder)


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def run(
    dataset: Dataset,
    tmp_path: Path,
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.setattr(search, "ROUNDS", 1)
    monkeypatch.setattr(search, "SECONDS", 0.01)

    def run(*architectures: Architecture, budget: Budget = Budget()) -> dict[str, CandidateResult]:  # noqa: B008
        space = SearchSpace(architectures, ("fp32", "int8"), budget, "cpu")
        config = TrainConfig(str(dataset.root))
        results = Search(space, dataset, config, None, tmp_path, messages.append).run()
        return {result.name: result for result in results}

    return run


@pytest.fixture
def store(tmp_path: Path, tiny_model: Path) -> Callable[..., None]:
    """Store a finished candidate with a mean accuracy."""
    folder = tmp_path / "candidates"
    folder.mkdir()
    results = ResultStore(folder)

    def store(
        architecture: Architecture,
        precision: str,
        mean: float,
        screened: float = 0,
        spread: float = 0.01,
    ) -> None:
        accuracy = Accuracy((mean - spread, mean, mean + spread), mean, 13)
        screening = Accuracy((screened - 0.01, screened, screened + 0.01), screened, 13)
        result = CandidateResult(
            measure_architecture(architecture), precision, screening, (DEFAULT_CANDIDATE,),
            accuracy, DEFAULT_CANDIDATE, 3.0, Latency(STAGES, "cpu"),
        )  # fmt: skip
        shutil.copyfile(tiny_model, results.get_file(result))
        results.save(result)

    return store


def test_run__stored_candidates_are_measured_again(run: Run, store: Callable[..., None]) -> None:
    store(SMALL, "fp32", 0.8)
    store(SMALL, "int8", 0.7)
    results = run(SMALL)
    assert list(results) == [f"{NAME} 64x64 fp32", f"{NAME} 64x64 int8"]
    for result, mean in zip(results.values(), (0.8, 0.7), strict=True):
        assert result.is_finished
        assert result.accuracy.mean == pytest.approx(mean)
        assert result.latency is not None
        assert result.latency.stages_ms != STAGES


def test_run__clearly_worse_on_the_subset(
    run: Run, store: Callable[..., None], messages: list[str]
) -> None:
    for precision in ("fp32", "int8"):
        store(SMALL, precision, 0.8, screened=0.6)
        store(LARGE, precision, 0.9, screened=0.5)
    results = run(LARGE, SMALL)
    assert f"{NAME} 128x128 int8" not in results
    stopped = results[f"{NAME} 128x128 fp32"]
    expected = f"on 13 images less accurate (0.500) than the faster {NAME} 64x64 (0.600)"
    assert (stopped.stopped, stopped.is_finished) == (expected, False)
    assert f"stopped {stopped.name}: {expected}" in messages


def test_run__not_better_than_a_faster_network(run: Run, store: Callable[..., None]) -> None:
    for precision in ("fp32", "int8"):
        store(SMALL, precision, 0.8)
        store(LARGE, precision, 0.795, spread=-0.01)
    results = run(SMALL, LARGE)
    assert f"{NAME} 128x128 int8" not in results
    stopped = results[f"{NAME} 128x128 fp32"].stopped
    expected = f"accuracy 0.795 and macro-F1 0.795, not better than the faster {NAME} 64x64"
    assert stopped == expected


def test_run__clearly_over_the_latency(run: Run, store: Callable[..., None]) -> None:
    for precision in ("fp32", "int8"):
        store(SMALL, precision, 0.8)
    results = run(SMALL, LARGE, budget=Budget(latency_ms=5.0))
    # 2.5 ms for the image and, with four times the multiply-adds, 8 ms for the network.
    assert results[f"{NAME} 128x128 fp32"].stopped.startswith("about 1")
    assert results[f"{NAME} 64x64 fp32"].is_finished


def test_run__weights_larger_than_the_budget(run: Run) -> None:
    results = run(SMALL, budget=Budget(megabytes=0.1))
    assert results[f"{NAME} 64x64 fp32"].stopped == "its weights have 1.4 MB, the budget is 0.1 MB"


def test_run__backbones_that_cannot_be_had(
    run: Run, store: Callable[..., None], messages: list[str]
) -> None:
    store(SMALL, "fp32", 0.8)
    store(SMALL, "int8", 0.8)
    missing = Architecture("resnet5", "none", (64, 64))
    assert len(run(missing, SMALL)) == 2
    assert messages[0].startswith("skipped resnet5 64x64: --backbone resnet5: not a ")
    with pytest.raises(UsageError, match="none of the backbones can be used: --backbone resnet5"):
        run(missing, replace(missing, size=(96, 96)))


def test_run__same_search_is_running(run: Run, tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path),
        pytest.raises(OutputError, match="another process is running the same search"),
    ):
        run(SMALL)


def test_load__file_or_json_is_missing(store: Callable[..., None], tmp_path: Path) -> None:
    store(SMALL, "fp32", 0.8)
    results = ResultStore(tmp_path / "candidates")
    stored = results.load(SMALL, "fp32")
    results.get_file(stored).unlink()
    loaded = results.load(SMALL, "fp32")
    assert (loaded.cross_validation, loaded.latency) == (stored.cross_validation, None)
    (json_file,) = (tmp_path / "candidates").glob("*.json")
    json_file.write_text("{")
    assert results.load(SMALL, "fp32") == CandidateResult(SMALL, "fp32")


def test_load__other_weights(store: Callable[..., None], tmp_path: Path) -> None:
    store(SMALL, "fp32", 0.8)
    results = ResultStore(tmp_path / "candidates")
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    other = replace(SMALL, weights=str(weights))
    assert results.load(other, "fp32").screening is None
