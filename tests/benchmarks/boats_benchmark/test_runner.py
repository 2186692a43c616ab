from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boats_benchmark.runner import (
    Combination,
    Measured,
    Settings,
    find_rates,
    make_combinations,
    photos_a_second,
    run_rounds,
    start_turn,
    to_row,
)
from boats_benchmark.trial import STAGES, Turn, draw_photo, gpu_mb, peak_mb, time_stages
from boats_runtime.classifier import Classifier
from boats_runtime.errors import ModelError, ProviderError
from boats_runtime.preprocessing import decode

MS = 1_000_000


def answer(*values_ms: float, **changes: Any) -> dict[str, Any]:
    """What a turn gives, with runs that took so long."""
    return {
        "load_ms": 100.0,
        "first_ms": 9.0,
        "cpu_s": 3.0,
        "wall_s": 2.0,
        "values_ns": [int(value * MS) for value in values_ms],
        "stages_ms": dict.fromkeys(STAGES, 1.0),
        "peak_mb": 50.0,
        "gpu_mb": None,
        "provider": "cpu",
        "nodes": {},
        "digest": "0" * 64,
        **changes,
    }


def combinations(*names: str) -> list[Combination]:
    return [Combination(Path(name), "cpu", 1, None) for name in names]


# --- make_combinations


def test_make_combinations__threads_are_those_of_the_cpu() -> None:
    made = make_combinations([Path("a"), Path("b")], ["cpu", "cuda"], [1, 8], [1, 2])
    assert len(made) == 2 * 2 * (2 + 1)
    assert {one.threads for one in made if one.provider == "cuda"} == {None}
    assert {one.threads for one in made if one.provider == "cpu"} == {1, 2}
    assert len(set(made)) == len(made)


# --- run_rounds


def test_run_rounds__takes_turns_in_an_order_of_the_seed() -> None:
    orders = []
    for seed in (0, 0, 1):
        taken: list[str] = []

        def take(turn: Turn, taken: list[str] = taken) -> dict[str, Any]:
            taken.append(turn.model)
            return answer(1.0)

        for _ in run_rounds(combinations(*"abc"), Settings(rounds=20, seed=seed), take):
            pass
        orders.append(taken)
    rounds = ["".join(orders[0][start : start + 3]) for start in range(0, 60, 3)]
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) > 3
    assert orders[0] == orders[1] != orders[2]


def test_run_rounds__shares_of_duration_and_count() -> None:
    turns: list[Turn] = []

    def take(turn: Turn) -> dict[str, Any]:
        turns.append(turn)
        return answer(1.0)

    settings = Settings(seconds=10.0, count=52, rounds=5, photos=("a.jpg",), spin=True)
    list(run_rounds(combinations("a"), settings, take))
    assert [(turn.seconds, turn.count) for turn in turns] == [(2.0, 11)] * 5
    assert turns[0].photos == ("a.jpg",)
    assert turns[0].spin


def test_run_rounds__one_that_fails_is_left_out() -> None:
    tried: list[str] = []

    def take(turn: Turn) -> dict[str, Any]:
        tried.append(turn.model)
        if turn.model == "b":
            raise ProviderError("no cuda here")
        return answer(1.0)

    *_, measured = run_rounds(combinations(*"ab"), Settings(rounds=3), take)
    assert [len(one.turns) for one in measured] == [3, 0]
    assert (measured[1].error, measured[1].exit_code) == ("no cuda here", 4)
    assert tried.count("b") == 1


# --- to_row


def test_to_row__percentiles_rates_and_raw_values() -> None:
    turns = [answer(*range(1, 51)), answer(*range(51, 102), load_ms=300.0, peak_mb=70.0)]
    row = to_row(Measured(Combination(Path("a.onnx"), "cpu", 4, 2), turns))
    assert (row["p50_ms"]["value"], row["p90_ms"]["value"]) == (51.0, 91.0)
    assert "p99_ms" not in row
    assert row["runs"] == 101
    assert row["photos_per_second"]["value"] == pytest.approx(101 * 4 / 5.151)
    assert (row["load_ms"], row["peak_mb"], row["cpu_cores"]) == (200.0, 70.0, 1.5)
    assert row["turns"] == turns


def test_to_row__failed() -> None:
    row = to_row(Measured(combinations("a")[0], error="gone"))
    assert row["error"] == "gone"
    assert "p50_ms" not in row


# --- find_rates


def test_find_rates__under_the_bound() -> None:
    one = Measured(combinations("a")[0], [answer(*[10.0] * 50)])
    assert photos_a_second(one) == pytest.approx(100)
    rates: list[float] = []

    def take(turn: Turn) -> dict[str, Any]:
        assert turn.count == 1000
        rates.append(turn.rate)
        return answer(*[10.0 / (1 - turn.rate / 100)] * 1000)  # a queue that grows

    list(find_rates([one], Settings(scenario="server", bound_ms=20.0), take))
    assert one.server["rate"] == pytest.approx(50, abs=100 / 2**6)
    assert one.server["p99_ms"] <= 20.0
    assert [trial["rate"] for trial in one.server["trials"]] == rates


# --- turns of a real file


def test_start_turn__a_real_one(tiny_model: Path, image_path: Path) -> None:
    turn = Turn(str(tiny_model), "cpu", 2, 1, False, 0.2, 5, (str(image_path),))
    told = start_turn(turn)
    assert len(told["values_ns"]) >= 5
    assert sum(told["values_ns"]) >= 0.2e9
    assert min(told["values_ns"]) > 0
    assert told["load_ms"] > 0
    assert told["peak_mb"] > 20
    assert set(told["stages_ms"]) == set(STAGES)
    assert told["provider"] == "cpu"
    assert told["gpu_mb"] is None


def test_start_turn__under_load(tiny_model: Path) -> None:
    turn = Turn(str(tiny_model), "cpu", 2, 1, False, 0.1, 20, rate=50.0)
    assert len(start_turn(turn)["values_ns"]) == 20


def test_start_turn__provider_that_is_not_there(tiny_model: Path) -> None:
    turn = Turn(str(tiny_model), "qnn", 1, None, False, 0.1, 1)
    with pytest.raises(ProviderError, match="provider qnn is not in this ONNX Runtime"):
        start_turn(turn)


def test_start_turn__no_model(image_path: Path) -> None:
    with pytest.raises(ModelError, match="not an ONNX model"):
        start_turn(Turn(str(image_path), "cpu", 1, None, False, 0.1, 1))


def test_start_turn__process_that_dies(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="ended before it was measured"):
        start_turn(Turn(str(tiny_model), "cpu", 0, None, False, 0.1, 1))


def test_time_stages__each_has_its_time(classifier: Classifier) -> None:
    stages = time_stages(classifier, [draw_photo(classifier)])
    assert list(stages) == list(STAGES)
    assert all(value > 0 for value in stages.values())
    assert stages["inference"] > stages["post"]


def test_draw_photo__is_of_the_networks_size(classifier: Classifier) -> None:
    size = classifier.metadata.preprocessing
    assert decode(draw_photo(classifier)).size == (size.width, size.height)


def test_peak_mb__reads_what_linux_counts(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("VmPeak:\t 9000 kB\nVmHWM:\t    1000 kB\n")
    assert peak_mb(status) == pytest.approx(1.024)
    assert peak_mb(tmp_path / "none") is None


@pytest.mark.parametrize(("printed", "expected"), [("512\n600\n", 536.870912), ("", None)])
def test_gpu_mb__reads_nvidias_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, expected: float | None
) -> None:
    assert gpu_mb() is None or np.isfinite(gpu_mb() or 0)
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{printed}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_mb() == expected
