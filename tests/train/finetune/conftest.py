from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from boats_train.finetune import sampling
from boats_train.finetune.trainer import FineTuningData
from support.fine_tuning import load_data


@pytest.fixture(autouse=True)
def single_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decode without workers and compute in one thread, which is faster for small networks."""
    monkeypatch.setattr(sampling, "granted_cpus", lambda: 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data(dataset_folder: Path) -> FineTuningData:
    return load_data(dataset_folder)
