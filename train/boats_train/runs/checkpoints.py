"""Folders of checkpoints, `.training-<digest>` in the folder of runs."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from boats_runtime.errors import OutputError
from boats_runtime.files import lock_folder, remove_unlocked

PREFIX = ".training-"
CHECKPOINT = "checkpoint.pt"
ACTIVATIONS = ".npy"
"""Suffix of the files with the activations of a frozen part of a network."""


@contextmanager
def reserve_checkpoints(folder: Path) -> Iterator[None]:
    """Reserve the checkpoint folder of a training during the block, and remove it at the end.

    If an exception ends the block, the folder stays for `--resume`, unless it is empty.

    Raises:
        OutputError: If another process is running the same training, or the folder cannot be
            created.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = ExitStack()
    try:
        lock.enter_context(lock_folder(folder))
    except BlockingIOError as error:
        raise OutputError(
            f"{folder}: another process is running the same training; wait for it, or give "
            "another --out"
        ) from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {error.strerror}") from error
    try:
        yield
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        for path in created:
            with suppress(OSError):  # not empty
                path.rmdir()
        lock.close()


def remove_crashed(parent: Path) -> None:
    """Remove folders without anything to resume from that no running training has reserved.

    A training resumes from checkpoints, in subfolders for the networks of cross-fitting, and from
    stored activations.
    """
    for folder in parent.glob(f"{PREFIX}*"):
        found = [*folder.rglob(CHECKPOINT), *folder.rglob(f"*{ACTIVATIONS}")]
        if not found:
            with suppress(OSError):  # in use, or of another user
                remove_unlocked(folder)
