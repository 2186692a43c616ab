"""Fixtures for the tests of `boats-predict`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.process import CommandResult, run_command

Predict = Callable[..., CommandResult]


@pytest.fixture
def predict(tmp_path: Path, tiny_model: Path) -> Predict:
    """Function that runs `boats-predict` in an empty folder, on the CPU with the tiny model.

    Its keyword arguments replace the default options; None leaves an option out.
    """

    def run(
        *arguments: object,
        model: Path | str | None = tiny_model,
        provider: str | None = "cpu",
        threshold: float | str | None = 0,
        env: dict[str, str] | None = None,
    ) -> CommandResult:
        defaults = {"--model": model, "--provider": provider, "--threshold": threshold}
        options = [
            word for name, value in defaults.items() if value is not None for word in (name, value)
        ]
        result = run_command("boats-predict", *options, *arguments, cwd=tmp_path, env=env)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def broken_path(tmp_path: Path, image_path: Path) -> Path:
    """A truncated image."""
    path = tmp_path / "broken.jpg"
    path.write_bytes(image_path.read_bytes()[:500])
    return path
