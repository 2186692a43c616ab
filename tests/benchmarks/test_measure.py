"""benchmarks/measure.py, on a clock that moves only when told to."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "measure.py"
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class FakeClock:
    """Stands still, but for the tasks that it makes, which each take as long as they say."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now

    def task(self, name: str, *durations: int) -> Callable[[], None]:
        """A task whose calls take these durations in turn, and then the last one again."""
        remaining = list(durations)

        def run() -> None:
            self.calls.append(name)
            self.now += remaining.pop(0) if len(remaining) > 1 else remaining[0]

        return run


def test_measure__keeps_the_duration_of_every_call(bench: ModuleType) -> None:
    clock = FakeClock()
    tasks = {"fast": clock.task("fast", 3, 4, 5), "slow": clock.task("slow", 100)}
    values = bench.measure(tasks, bench.Plan(warm_up=0, min_count=3, min_seconds=0), clock)
    assert values["fast"].tolist() == [[3], [4], [5]]
    assert values["slow"].tolist() == [[100], [100], [100]]


def test_measure__calls_a_task_several_times_in_its_turn(bench: ModuleType) -> None:
    clock = FakeClock()
    tasks = {"a": clock.task("a", 9, 1, 1, 8, 2, 2), "b": clock.task("b", 5)}
    plan = bench.Plan(warm_up=0, turn=3, min_count=2, min_seconds=0)
    values = bench.measure(tasks, plan, clock)
    assert values["a"].tolist() == [[9, 1, 1], [8, 2, 2]]
    assert values["b"].shape == (2, 3)
    assert all(len(set(clock.calls[start : start + 3])) == 1 for start in range(0, 12, 3))


def test_measure__leaves_the_warm_up_out(bench: ModuleType) -> None:
    clock = FakeClock()
    tasks = {"only": clock.task("only", 900, 800, 7)}
    values = bench.measure(tasks, bench.Plan(warm_up=2, min_count=3, min_seconds=0), clock)
    assert values["only"].ravel().tolist() == [7, 7, 7]
    assert len(clock.calls) == 5


def test_measure__goes_on_until_the_duration_is_met(bench: ModuleType) -> None:
    clock = FakeClock()
    plan = bench.Plan(warm_up=3, min_count=2, min_seconds=5.0)
    values = bench.measure({"only": clock.task("only", SECOND)}, plan, clock)
    assert len(values["only"]) == 5


def test_measure__goes_on_until_the_count_is_met(bench: ModuleType) -> None:
    clock = FakeClock()
    plan = bench.Plan(warm_up=0, min_count=9, min_seconds=5.0)
    values = bench.measure({"only": clock.task("only", SECOND)}, plan, clock)
    assert len(values["only"]) == 9


def test_measure__takes_turns_in_an_order_of_the_seed(bench: ModuleType) -> None:
    orders = []
    for seed in (0, 0, 1):
        clock = FakeClock()
        tasks = {name: clock.task(name, 1) for name in "abc"}
        bench.measure(tasks, bench.Plan(warm_up=0, min_count=20, min_seconds=0, seed=seed), clock)
        orders.append(clock.calls)
    rounds = ["".join(orders[0][start : start + 3]) for start in range(0, 60, 3)]
    assert {"".join(sorted(turn)) for turn in rounds} == {"abc"}
    assert len(set(rounds)) > 3
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


@pytest.mark.parametrize(
    "wrong", [{"min_count": 0}, {"turn": 0}, {"warm_up": -1}, {"min_seconds": -1.0}]
)
def test_plan__refuses_what_measures_nothing(bench: ModuleType, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs one turn and one round"):
        bench.Plan(**wrong)


def test_summarise__tells_percentiles_in_milliseconds(bench: ModuleType) -> None:
    values = np.arange(1, 102, dtype=np.int64)[:, np.newaxis] * 1_000_000
    summary = bench.summarise(values)
    assert summary == {
        "count": 101,
        "p50_ms": 51.0,
        "p90_ms": 91.0,
        "values_ns": [[1_000_000 * step] for step in range(1, 102)],
    }


@pytest.mark.parametrize(("rounds", "told"), [(333, False), (334, True)])
def test_summarise__tells_p99_from_a_thousand_values_on(
    bench: ModuleType, rounds: int, told: bool
) -> None:
    assert ("p99_ms" in bench.summarise(np.ones((rounds, 3), dtype=np.int64))) is told


def test_median_ratio__is_of_the_medians(bench: ModuleType) -> None:
    values = np.array([10, 20, 1000], dtype=np.int64)
    base = np.array([100, 40, 39], dtype=np.int64)
    ratio = bench.median_ratio(values, base)
    assert ratio.value == 0.5
    assert ratio.low <= ratio.value <= ratio.high


def test_median_ratio__interval_narrows_with_rounds(bench: ModuleType) -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rounds in (20, 2000):
        values = rng.normal(50_000, 5000, rounds).astype(np.int64)
        base = rng.normal(100_000, 10_000, rounds).astype(np.int64)
        ratio = bench.median_ratio(values, base)
        assert ratio.low < 0.5 < ratio.high
        widths.append(ratio.high - ratio.low)
    assert widths[1] < widths[0] / 3


def test_median_ratio__draws_whole_rounds(bench: ModuleType) -> None:
    """Where both are slow in the same rounds, their ratio is certain however much each varies."""
    slowness = np.random.default_rng(0).integers(1, 100, (50, 1)).repeat(3, axis=1)
    ratio = bench.median_ratio(slowness * 1000, slowness * 2000)
    assert (ratio.low, ratio.value, ratio.high) == (0.5, 0.5, 0.5)


def test_median_ratio__refuses_other_rounds(bench: ModuleType) -> None:
    with pytest.raises(ValueError, match="not of the same rounds"):
        bench.median_ratio(np.ones(3, dtype=np.int64), np.ones(4, dtype=np.int64))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.1, 2.0, []),
        (0.6, 2.0, ["before: load 0.6"]),
        (0.1, 2.6, ["meanwhile: load 2.6 on 2 cores"]),
        (3.0, 4.0, ["before", "meanwhile"]),
        (None, None, []),
    ],
)
def test_load_warnings__tells_of_others(
    bench: ModuleType, before: float | None, after: float | None, said: list[str]
) -> None:
    warnings = bench.load_warnings(before, after, 2)
    assert len(warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, warnings, strict=True))


def test_commit__names_the_commit_and_its_changes(bench: ModuleType, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        answer = subprocess.run(
            ["git", *settings, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return answer.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    clean = bench.commit(tmp_path)
    assert len(clean) == 12
    assert git("rev-parse", "HEAD").startswith(clean)
    (tmp_path / "file").write_text("two", encoding="utf-8")
    assert bench.commit(tmp_path) == f"{clean}-dirty"


def test_commit__is_none_outside_of_git(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert bench.commit(tmp_path) is None


def test_report__writes_results_and_circumstances(
    bench: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "new" / "result.json"
    loads = iter([9.0, 1.0])
    monkeypatch.setattr(bench, "_load_average", lambda: next(loads))
    bench.report(path, {"rows": [1, 2]}, bench.Circumstances())
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["rows"] == [1, 2]
    circumstances = written["circumstances"]
    assert (circumstances["load_before"], circumstances["load_after"]) == (9.0, 1.0)
    assert circumstances["libraries"]["numpy"] == np.__version__
    assert circumstances["cores_granted"] >= 1
    assert circumstances["cpu"]
    assert circumstances["warnings"] == ["the machine was busy before: load 9.0"]
    assert "busy before: load 9.0" in capsys.readouterr().err


def test_write_json__leaves_the_old_file_when_it_fails(bench: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    bench.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        bench.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
