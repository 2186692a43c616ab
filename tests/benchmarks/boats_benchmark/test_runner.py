from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from boats_benchmark.load import Attempt
from boats_benchmark.runner import (
    BenchmarkSettings,
    Combination,
    CombinationResult,
    find_rates,
    make_combinations,
    run_trials,
    start_server,
    start_trial,
)
from boats_benchmark.trial import STAGES, Trial, TrialResult
from boats_runtime.errors import BoatsError, ModelError, ProviderError


def make_result(*values_ms: float, **changes: Any) -> TrialResult:
    """Return a trial with runs of these durations."""
    fields: dict[str, Any] = {
        "load_ms": 100.0,
        "first_ms": 9.0,
        "cpu_s": 3.0,
        "wall_s": 2.0,
        "values_ns": [int(value * 1_000_000) for value in values_ms],
        "stages_ms": dict.fromkeys(STAGES, 1.0),
        "peak_mb": 50.0,
        "gpu_mb": None,
        "provider": "cpu",
        "nodes": {},
        "digest": "0" * 64,
    }
    return TrialResult(**fields | changes)


def make_results(names: str) -> list[CombinationResult]:
    return [CombinationResult(Combination(Path(name), "cpu", 1, None)) for name in names]


def make_trial(model: Path, provider: str = "cpu", batch: int = 2, **changes: Any) -> Trial:
    return Trial(str(model), provider, batch, 1, False, 0.1, 5, **changes)


def test_make_combinations__only_the_cpu_varies_threads() -> None:
    combinations = make_combinations([Path("a"), Path("b")], ["cpu", "cuda"], [1, 8], [1, 2])
    assert len(set(combinations)) == len(combinations) == 2 * 2 * (2 + 1)
    for provider, threads in (("cuda", {None}), ("cpu", {1, 2})):
        assert {item.threads for item in combinations if item.provider == provider} == threads


def test_run_trials__all_combinations_in_each_round() -> None:
    models: list[str] = []

    def record(trial: Trial) -> TrialResult:
        models.append(trial.model)
        return make_result(1.0)

    list(run_trials(make_results("abc"), BenchmarkSettings(rounds=20), record))
    rounds = {"".join(models[start : start + 3]) for start in range(0, 60, 3)}
    assert {"".join(sorted(names)) for names in rounds} == {"abc"}
    assert len(rounds) > 3


def test_run_trials__trials_share_duration_and_runs() -> None:
    trials: list[Trial] = []

    def record(trial: Trial) -> TrialResult:
        trials.append(trial)
        return make_result(1.0)

    settings = BenchmarkSettings(seconds=10.0, min_runs=52, images=("a.jpg",), spin=True)
    list(run_trials(make_results("a"), settings, record))
    assert [(trial.seconds, trial.min_runs) for trial in trials] == [(2.0, 11)] * 5
    assert trials[0].images == ("a.jpg",)
    assert trials[0].spin


def test_run_trials__failed_combination_has_no_more_trials() -> None:
    started: list[str] = []

    def fail_b(trial: Trial) -> TrialResult:
        started.append(trial.model)
        if trial.model == "b":
            raise ProviderError("no CUDA")
        return make_result(1.0)

    results = make_results("ab")
    list(run_trials(results, BenchmarkSettings(rounds=3), fail_b))
    assert [len(result.trials) for result in results] == [3, 0]
    assert (results[1].error, results[1].exit_code) == ("no CUDA", 4)
    assert started.count("b") == 1


def test_combination_result__json() -> None:
    trials = [
        make_result(*range(1, 51)),
        make_result(*range(51, 102), load_ms=300.0, peak_mb=70.0),
    ]
    combination = Combination(Path("a.onnx"), "cpu", 4, 2)
    content = CombinationResult(combination, trials).to_json()
    assert (content["model"], content["batch"], content["threads"]) == ("a.onnx", 4, 2)
    assert (content["p50_ms"]["value"], content["p90_ms"]["value"]) == (51.0, 91.0)
    assert "p99_ms" not in content
    assert content["runs"] == 101
    assert content["photos_per_second"]["value"] == pytest.approx(101 * 4 / 5.151)
    assert (content["load_ms"], content["peak_mb"], content["cpu_cores"]) == (200.0, 70.0, 1.5)
    assert content["turns"] == [asdict(trial) for trial in trials]
    failed = CombinationResult(combination, error="failed").to_json()
    assert failed["error"] == "failed"
    assert "p50_ms" not in failed


def test_combination_result__interval_is_of_the_same_throughput() -> None:
    """As many runs in each trial, so that the mean of the rates is not the rate of all runs."""
    trials = [make_result(*[100.0 if number == 0 else 10.0] * 10) for number in range(5)]
    throughput = CombinationResult(Combination(Path("a.onnx"), "cpu", 1, None), trials).to_json()[
        "photos_per_second"
    ]
    assert throughput["value"] == pytest.approx(50 / 1.4)
    assert throughput["low"] <= throughput["value"] <= throughput["high"]


def test_find_rates__highest_rate_that_was_kept() -> None:
    (result,) = make_results("a")
    result.trials.append(make_result(*[10.0] * 50))
    trials: list[Trial] = []
    attempts = [Attempt(rate, 200, 2, None, rate <= 30) for rate in (50.0, 25.0, 30.0)]

    def serve(trial: Trial) -> list[Attempt]:
        trials.append(trial)
        return attempts

    settings = BenchmarkSettings(scenario="server", seconds=10.0, bound_ms=20.0)
    list(find_rates([result], settings, serve))
    (trial,) = trials
    assert (trial.max_rate, trial.seconds, trial.bound_s) == (pytest.approx(100), 5.0, 0.02)
    assert result.server == {
        "rate": 30.0, "p99_ms": None, "images": 200, "late": 2, "bound_ms": 20.0,
        "trials": [asdict(attempt) for attempt in attempts],
    }  # fmt: skip


def test_find_rates__error() -> None:
    (result,) = make_results("a")
    result.trials.append(make_result(10.0))

    def fail(_: Trial) -> list[Attempt]:
        raise ProviderError("no CUDA")

    list(find_rates([result], BenchmarkSettings(scenario="server"), fail))
    assert (result.error, result.exit_code) == ("no CUDA", 4)


def test_run_trials__server_scenario_has_half_of_the_duration() -> None:
    trials: list[Trial] = []

    def record(trial: Trial) -> TrialResult:
        trials.append(trial)
        return make_result(1.0)

    settings = BenchmarkSettings(scenario="server", seconds=10.0, rounds=5)
    list(run_trials(make_results("a"), settings, record))
    assert [trial.seconds for trial in trials] == [1.0] * 5


@pytest.mark.parametrize(
    ("provider", "batch", "error", "message"),
    [
        ("qnn", 1, ProviderError, "provider qnn is not in this ONNX Runtime"),
        ("cpu", 0, ModelError, "the process of the trial failed: .+"),
    ],
)
def test_start_trial__error(
    tiny_model: Path, provider: str, batch: int, error: type[BoatsError], message: str
) -> None:
    with pytest.raises(error, match=message):
        start_trial(make_trial(tiny_model, provider, batch))


def test_start_trial__measures_a_file(tiny_model: Path, image_path: Path) -> None:
    result = start_trial(make_trial(tiny_model, images=(str(image_path),)))
    assert len(result.values_ns) >= 5
    assert sum(result.values_ns) >= 0.1e9
    assert min(result.values_ns) > 0
    assert set(result.stages_ms) == set(STAGES)
    assert result.load_ms > 0
    assert result.peak_mb is None or result.peak_mb > 20
    assert (result.provider, result.gpu_mb) == ("cpu", None)


def test_start_server__tries_rates(tiny_model: Path) -> None:
    (attempt,) = start_server(make_trial(tiny_model, max_rate=100.0))
    assert attempt.rate == 50.0
    assert attempt.images <= 20  # 5 images are expected in 0.1 s
