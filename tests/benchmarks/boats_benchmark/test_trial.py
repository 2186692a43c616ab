from pathlib import Path

import pytest

from boats_benchmark.trial import STAGES, draw_image, read_gpu_mb, read_peak_mb, time_stages
from boats_runtime.classifier import Classifier
from boats_runtime.decoding import decode


def test_time_stages__synthetic_image(classifier: Classifier) -> None:
    content = draw_image(classifier)
    size = classifier.metadata.preprocessing
    assert decode(content).size == (size.width, size.height)
    stages = time_stages(classifier, [content])
    assert tuple(stages) == STAGES
    assert all(value > 0 for value in stages.values())


def test_read_peak_mb__proc_status(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("VmPeak:\t 9000 kB\nVmHWM:\t    1000 kB\n")
    assert read_peak_mb(status) == pytest.approx(1.024)
    assert read_peak_mb(tmp_path / "missing") is None


@pytest.mark.parametrize(("output", "expected"), [("512\\n600\\n", 536.870912), ("", None)])
def test_read_gpu_mb__nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, expected: float | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpu_mb() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{output}'\n")
    tool.chmod(0o755)
    assert read_gpu_mb() == expected
