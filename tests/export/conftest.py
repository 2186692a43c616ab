"""Fixtures of the tests of boats_export."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from boats_export import export
from boats_export.cli import main
from support.process import main_runner


@pytest.fixture
def quick_network(tiny_network: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the exporter of PyTorch, which takes seconds, by a copy of its result."""

    def copy_network(*_: object) -> onnx.ModelProto:
        network = onnx.ModelProto()
        network.CopyFrom(tiny_network)
        return network

    monkeypatch.setattr(export, "export_network", copy_network)


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., object]:
    """A function that runs boats-export in this process and returns its exit code."""
    monkeypatch.chdir(tmp_path)
    return main_runner(monkeypatch, main, "boats-export")
