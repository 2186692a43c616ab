from typing import Any

import pytest

from boats_benchmark.report import to_page, to_table

TOLD = {
    "warnings": ["others used 1.0 cores meanwhile"],
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


def make_row(**more: Any) -> dict[str, Any]:
    interval = {"value": 12.345, "low": 12.0, "high": 13.0}
    return {
        "model": "some/boats.onnx",
        "provider": "cpu",
        "active_provider": "cpu",
        "nodes": {},
        "digest": "0123456789abcdef",
        "batch": 1,
        "threads": None,
        "error": "",
        "p50_ms": interval,
        "p90_ms": interval,
        "photos_per_second": interval,
        "load_ms": 100.4,
        "first_ms": 30.0,
        "cpu_cores": 1.9,
        "peak_mb": 200.0,
        "gpu_mb": None,
        "stages_ms": {"decode": 4.0, "inference": 8.0},
        "server": None,
    } | more


def test_to_table__a_line_a_row() -> None:
    head, line = to_table([make_row()], "single-stream")
    assert head.split()[:4] == ["file", "provider", "batch", "threads"]
    assert "GPU MB" not in head
    assert line.startswith("boats.onnx")
    assert "12.35 (12.00 to 13.00)" in line
    assert "  -  " in line, "p99 of fewer than 1,000 runs"
    assert len(head) == len(line)


def test_to_table__memory_of_a_gpu_and_its_nodes() -> None:
    gpu = make_row(active_provider="cuda", nodes={"CUDAExecutionProvider": 79}, gpu_mb=812.3)
    head, *lines = to_table([make_row(), gpu], "offline")
    assert head.endswith("GPU MB")
    assert [line.split()[-1] for line in lines] == ["-", "812"]
    assert "cuda (79 nodes)" in lines[1]


@pytest.mark.parametrize(
    ("rate", "words"),
    [(12.34, "12.3/s, p99 150 ms (bound 200 ms)"), (0, "none (bound 200 ms)")],
)
def test_to_table__rate_of_a_server(rate: float, words: str) -> None:
    server = {"rate": rate, "p99_ms": 150.0, "bound_ms": 200.0}
    _, line = to_table([make_row(server=server)], "server")
    assert line.endswith(words)


def test_to_table__what_could_not_be_measured() -> None:
    failed = {"model": "a.onnx", "provider": "cuda", "error": "no such library"}
    assert to_table([make_row(), failed], "offline")[-1] == "a.onnx on cuda: no such library"


def test_to_page__says_what_it_depended_on() -> None:
    command = "boats-benchmark some/boats.onnx"
    record = {"scenario": "offline", "command": command, "circumstances": TOLD}
    failed = {"model": "a.onnx", "provider": "cuda", "error": "no such library"}
    page = to_page([make_row(), failed], record, ["latency.png"])
    for words in (
        "# boats-benchmark: offline",
        "**others used 1.0 cores meanwhile**",
        "12.35 (12.00 to 13.00)",
        "a.onnx on cuda: no such library",
        "| boats.onnx | cpu | all | 4.00 | 8.00 |",
        "![latency](latency.png)",
        "Some CPU (avx2), 2 cores granted",
        "versions: Python 3.11.7, boats 0.1.0, numpy 2.4.6\n",
        "commit unknown",
        "load before and after: 0.1, 1.2",
        "digests: boats.onnx 0123456789ab\n",
        f"repeat: `{command}`",
    ):
        assert words in page, words
