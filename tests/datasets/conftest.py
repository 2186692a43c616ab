"""Fixtures of the tests of datasets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.checked_dataset import CheckedDataset
from support.servers import ScriptedServer, run_server


@pytest.fixture
def dataset(tmp_path: Path) -> CheckedDataset:
    """A dataset without problems."""
    return CheckedDataset(tmp_path / "data")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """An HTTP server that is reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with run_server() as server:
        yield server
