from collections.abc import Iterator
from pathlib import Path

import pytest

from boats_train.finetune import sampling
from boats_train.finetune.linear_head import single_thread
from boats_train.finetune.trainer import FineTuningData
from support.fine_tuning import load_data


@pytest.fixture(autouse=True)
def single_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decode without workers and compute in one thread, which is faster for small networks."""
    monkeypatch.setattr(sampling, "granted_cpus", lambda: 0)
    with single_thread():
        yield


@pytest.fixture(scope="session")
def data(dataset_folder: Path) -> FineTuningData:
    return load_data(dataset_folder)
