from collections.abc import Callable
from pathlib import Path

import pytest

from boats_train.cli import main
from support.process import main_runner

Train = Callable[..., object]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    """Run the command in this process, which has imported PyTorch, and return the exit code."""
    monkeypatch.chdir(tmp_path)
    return main_runner(monkeypatch, main, "boats-train")
