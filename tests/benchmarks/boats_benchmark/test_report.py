import json
import re
from pathlib import Path
from typing import Any

import pytest

from boats_benchmark.report import format_page, format_table, write_json
from support.hostile_names import find_control, make_names

INTERVAL = {"value": 12.345, "low": 12.0, "high": 13.0}
RESULT = {
    "model": "some/boats.onnx",
    "provider": "cpu",
    "active_provider": "cpu",
    "nodes": {},
    "digest": "0123456789abcdef",
    "batch": 1,
    "threads": None,
    "error": "",
    "p50_ms": INTERVAL,
    "p90_ms": INTERVAL,
    "photos_per_second": INTERVAL,
    "load_ms": 100.4,
    "first_ms": 30.0,
    "cpu_cores": 1.9,
    "peak_mb": 200.0,
    "gpu_mb": None,
    "stages_ms": {"decode": 4.0, "inference": 8.0},
    "server": None,
}
FAILURE = {"model": "a.onnx", "provider": "cuda", "error": "no such library"}
ENVIRONMENT: dict[str, Any] = {
    "warnings": ["other processes used 1.0 cores"],
    "libraries": {"boats": "0.1.0", "numpy": "2.4.6", "other": "1"},
    "cpu": "Some CPU",
    "cpu_features": ["avx2"],
    "cores_granted": 2,
    "system": "Linux x86_64",
    "python": "3.11.7",
    "when": "2026-01-02T03:04:05Z",
    "commit": None,
    "load_before": 0.1,
    "load_after": 1.2,
}


def test_format_table__aligned_columns() -> None:
    header, line, error = format_table([RESULT, FAILURE], "single-stream")
    assert header.split()[:4] == ["file", "provider", "batch", "threads"]
    assert "GPU MB" not in header
    assert line.startswith("boats.onnx")
    assert "12.35 (12.00 to 13.00)" in line
    assert "  -  " in line, "no p99 of fewer than 1,000 runs"
    assert len(header) == len(line)
    assert error == "a.onnx on cuda: no such library"


def test_format_table__gpu_memory_and_nodes() -> None:
    changes = {"active_provider": "cuda", "nodes": {"CUDAExecutionProvider": 79}, "gpu_mb": 812.3}
    header, *lines = format_table([RESULT, RESULT | changes], "offline")
    assert header.endswith("GPU MB")
    assert [line.split()[-1] for line in lines] == ["-", "812"]
    assert "cuda (79 nodes)" in lines[1]


@pytest.mark.parametrize(
    ("rate", "p99_ms", "expected"),
    [
        (12.34, 150.0, "12.3/s, 2 of 1,200 images late, p99 150 ms (bound 200 ms)"),
        (12.34, None, "12.3/s, 2 of 1,200 images late (bound 200 ms)"),
        (None, None, "none (bound 200 ms)"),
    ],
)
def test_format_table__rate_of_the_server_scenario(
    rate: float | None, p99_ms: float | None, expected: str
) -> None:
    server = {"rate": rate, "images": 1200, "late": 2, "p99_ms": p99_ms, "bound_ms": 200.0}
    _, line = format_table([RESULT | {"server": server}], "server")
    assert line.endswith(expected)


def test_format_page__results_and_environment() -> None:
    record = {
        "scenario": "offline",
        "command": "boats-benchmark some/boats.onnx",
        "circumstances": ENVIRONMENT,
        "rows": [RESULT, FAILURE, RESULT | {"batch": 2}],
    }
    page = format_page(record, ["latency.png"])
    for text in (
        "# boats-benchmark: offline",
        "**other processes used 1.0 cores**",
        "12.35 (12.00 to 13.00)",
        "a.onnx on cuda: no such library",
        "![latency](latency.png)",
        "Some CPU (avx2), 2 available cores",
        "versions: Python 3.11.7, boats 0.1.0, numpy 2.4.6\n",
        "commit unknown",
        "load average: 0.1 before, 1.2 after",
        "digests: boats.onnx 0123456789ab\n",
        "command: `boats-benchmark some/boats.onnx`",
    ):
        assert text in page, text
    assert page.count("| boats.onnx | cpu | all | 4.00 | 8.00 |") == 1


def test_format_table__control_characters_in_file_names() -> None:
    for name in make_names(100, in_file_names=True):
        result = RESULT | {"model": f"some/{name}", "digest": "0" * 64}
        failure = FAILURE | {"model": name, "error": f"{name}: no such file"}
        header, line, error = format_table([result, failure], "offline")
        assert not find_control("\n".join([header, line, error])), repr(name)
        assert "\n" not in line + error
        assert len(line) == len(header)


def test_format_page__control_characters_in_file_names() -> None:
    for name in make_names(100, in_file_names=True):
        record = {
            "scenario": "offline",
            "rows": [RESULT | {"model": name}, FAILURE | {"model": name}],
            "circumstances": ENVIRONMENT,
            "command": f"boats-benchmark {name}",
        }
        page = format_page(record, [])
        assert not find_control(page), repr(name)
        tables = [line for line in page.splitlines() if line.startswith("| ")]
        unescaped = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
        assert unescaped == {6, 13}, repr(name)


def test_write_json__failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]
