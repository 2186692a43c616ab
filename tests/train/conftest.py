import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_train.cli import main

Train = Callable[..., object]


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    """Run the command in this process, which has imported PyTorch, and return the exit code."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("BOATS_")]:
        monkeypatch.delenv(variable)

    def run(*arguments: object) -> object:
        monkeypatch.setattr(sys, "argv", ["boats-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0

    return run
