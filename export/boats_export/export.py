"""From a run to a file that is proved before it appears."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import onnx

from boats_export.assemble import assemble, metadata_of
from boats_export.verify import Parity, compare, require_parity
from boats_runtime.errors import OutputError
from boats_train.run import Run

Log = Callable[[str], None]


def export_run(run: Run, out: Path, photos: Sequence[Path], log: Log) -> Parity:
    """Exports a run; the file appears at its place only when it does what the run does.

    Args:
        run: What to export.
        out: The file; replaced when it is there already and the new one is proved.
        photos: Real photos to compare on.
        log: Takes a line about what goes on.

    Returns:
        The proof, which is also in the file's metadata.

    Raises:
        CheckError: The exported model differs from the run.
        OutputError: The place can't be written, or the disk is full.
    """
    with _scratch_beside(out) as scratch:
        log("exporting the network and the classifier")
        model = assemble(run)
        _write(scratch, model, out)
        log(f"comparing with PyTorch and scikit-learn on {len(photos)} photos")
        parity = compare(scratch, run, photos)
        require_parity(parity)
        metadata = metadata_of(run, asdict(parity))
        onnx.helper.set_model_props(model, metadata.to_properties())
        _write(scratch, model, out)
        scratch.chmod(0o644)
        try:
            scratch.replace(out)
        except OSError as error:
            raise OutputError(f"{out}: can't be written: {error.strerror}") from error
    return parity


@contextmanager
def _scratch_beside(out: Path) -> Iterator[Path]:
    """Yields a new file beside another, so that a rename can replace it; gone at the end."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}-", dir=out.parent)
    except OSError as error:
        raise OutputError(f"{out.parent}: can't be written: {error.strerror}") from error
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _write(scratch: Path, model: onnx.ModelProto, out: Path) -> None:
    try:
        scratch.write_bytes(model.SerializeToString(deterministic=True))
    except OSError as error:
        raise OutputError(f"{out}: can't be written: {error.strerror}") from error
