from collections.abc import Callable
from pathlib import Path

import pytest

from boats_runtime.files import lock_folder
from boats_train.finetune import loop
from boats_train.finetune.loop import CHECKPOINT
from boats_train.runs.run import load_run

HEAD = (
    "--model", "finetune", "--backbone", "shufflenet_v2_x0_5", "--weights", "none",
    "--image-size", "64x160", "--epochs", "3", "--cache", "cache",
)  # fmt: skip

Train = Callable[..., object]


def interrupt(train: Train, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Interrupt a training after its second epoch and return the folder of its checkpoint."""
    derive_seed = loop.derive_seed

    def raise_in_third_epoch(*components: int) -> int:
        if components[1] == 3:
            raise KeyboardInterrupt
        return derive_seed(*components)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "derive_seed", raise_in_third_epoch)
        assert train("--data", data, *HEAD) == 130
    (folder,) = Path("runs").iterdir()
    return folder


def test_train__resume_says_what_it_resumes(
    train: Train,
    dataset_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = interrupt(train, dataset_folder, monkeypatch)
    assert train("--data", dataset_folder, *HEAD, "--resume") == 0
    assert f"resuming after epoch 2 of {folder / CHECKPOINT}\n" in capsys.readouterr().err
    assert not folder.exists()


def test_train__resume_finds_nothing(
    train: Train, dataset_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--data", dataset_folder, *HEAD, "--resume") == 0
    assert load_run(Path("runs")).config.learning_rate == 1e-2  # chosen by held-out days
    message = "--resume: runs has no checkpoint of this training: starting with epoch 1\n"
    assert message in capsys.readouterr().err


def test_train__identical_training_is_running(
    train: Train,
    dataset_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = interrupt(train, dataset_folder, monkeypatch)
    content = (folder / CHECKPOINT).read_bytes()
    with lock_folder(folder):
        assert train("--data", dataset_folder, *HEAD) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"boats-train: {folder}: another process is running the same training; ")
    assert (folder / CHECKPOINT).read_bytes() == content


def test_train__removes_what_crashed_trainings_left(
    train: Train, dataset_folder: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    for name in ("resumable", "running", "crashed"):
        (runs / f".training-{name}").mkdir(parents=True)
    (runs / ".training-resumable" / CHECKPOINT).touch()
    (runs / ".training-crashed" / ".curves.csv-12.partial").touch()
    for name, file in (("folds", f"fold-1/{CHECKPOINT}"), ("stored", "activations/00000.npy")):
        path = runs / f".training-{name}" / file
        path.parent.mkdir(parents=True)
        path.touch()
    (runs / ".run-123456789-files.partial" / "run").mkdir(parents=True)
    with lock_folder(runs / ".training-running"):
        assert train("--data", dataset_folder, *HEAD) == 0
    left = {path.name for path in runs.iterdir() if path.name.startswith(".")}
    names = ("resumable", "running", "folds", "stored")
    assert left == {f".training-{name}" for name in names}
