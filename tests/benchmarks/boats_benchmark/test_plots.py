from pathlib import Path

import pytest

from boats_benchmark.plots import draw_plots


@pytest.mark.parametrize("name", ["$x^$", "a\x1b[2J\nb", "_hidden", "\udcff$"])
def test_draw_plots__characters_in_file_names(tmp_path: Path, name: str) -> None:
    trial = {"values_ns": [1_000_000, 2_000_000]}
    result = {
        "model": name, "provider": "cpu", "batch": 1, "threads": None, "error": "",
        "turns": [trial],
    }  # fmt: skip
    assert draw_plots([result], tmp_path) == ["latency.png"]
    assert (tmp_path / "latency.png").stat().st_size > 1000
