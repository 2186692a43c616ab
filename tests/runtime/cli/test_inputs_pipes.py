"""FIFOs, devices and sockets named on the command line, or found in folders."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from boats_runtime.classifier import Classifier
from boats_runtime.cli import inputs as inputs_module
from boats_runtime.cli.inputs import find_inputs
from boats_runtime.errors import UsageError
from boats_runtime.prediction import Failure, ImageInput
from support.special_files import KINDS, make_special_file, make_special_files
from support.toy_model import ToyModel

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    return make_special_file(tmp_path / "fifo", "fifo")


@contextmanager
def open_pipe(content: bytes, *, finished: bool = True) -> Iterator[str]:
    """Yield the name that a shell gives to a pipe with this content: `<(command)`."""
    reader, writer = os.pipe()
    os.write(writer, content)
    if finished:
        os.close(writer)
    try:
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
        if not finished:
            os.close(writer)


@pytest.mark.parametrize("content", [b"an image", b""])
def test_find_inputs__process_substitution(content: bytes) -> None:
    with open_pipe(content) as name:
        assert list(find_inputs([name])) == [ImageInput(name, content)]


def test_find_inputs__fifo_with_a_writer(fifo: Path) -> None:
    content = bytes(range(256)) * 1000  # more than a pipe holds
    writer = Thread(target=fifo.write_bytes, args=(content,))
    writer.start()
    assert list(find_inputs([str(fifo)])) == [ImageInput(str(fifo), content)]
    writer.join()


def test_find_inputs__fifo_without_a_writer(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "WRITER_TIMEOUT_S", 0.01)
    (failure,) = find_inputs([str(fifo)])
    assert (failure.name, str(failure)) == (str(fifo), "cannot be read: no process writes to it")


def test_find_inputs__pipe_whose_writer_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "DATA_TIMEOUT_S", 0.01)
    with open_pipe(b"half an image", finished=False) as name:
        (failure,) = find_inputs([name])
    assert (failure.name, str(failure)) == (name, "cannot be read: no data for 0.01 s")


def test_find_inputs__pipe_with_too_much_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "MAX_BYTES", 1 << 10)
    with open_pipe(bytes(2000), finished=False) as name:
        (failure,) = find_inputs([name])
    assert isinstance(failure, Failure)
    assert str(failure).startswith("cannot be read: more than ")


def test_find_inputs__list_in_a_pipe() -> None:
    with open_pipe(b"a.jpg\nb.jpg\n") as name:
        assert [item.name for item in find_inputs([f"@{name}"])] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("kind", KINDS)
def test_find_inputs__list_in_a_special_file(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_module, "WRITER_TIMEOUT_S", 0.01)
    path = make_special_file(tmp_path / "list", kind)
    with pytest.raises(UsageError, match=r"cannot be read: (not a regular file|no process writes)"):
        list(find_inputs([f"@{path}"]))


@pytest.mark.parametrize("pattern", ["", "/*.jpg"])
def test_predict_many__special_files_of_a_folder(
    tmp_path: Path, image_path: Path, pattern: str
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    names = make_special_files(folder)
    (folder / "z.jpg").write_bytes(image_path.read_bytes())
    with Classifier(ToyModel().save(tmp_path / "toy.onnx"), "cpu") as classifier:
        *failures, last = classifier.predict_many(find_inputs([f"{folder}{pattern}"]))
    assert [Path(failure.name).name for failure in failures] == names
    assert {str(failure) for failure in failures} == {"cannot be read: not a regular file"}
    assert Path(last.name).name == "z.jpg"


@pytest.mark.parametrize("kind", ["device", "socket"])
def test_predict_many__named_special_file(tmp_path: Path, kind: str) -> None:
    path = make_special_file(tmp_path / "image", kind)
    with Classifier(ToyModel().save(tmp_path / "toy.onnx"), "cpu") as classifier:
        (failure,) = classifier.predict_many(find_inputs([str(path)]))
    assert str(failure) == "cannot be read: not a regular file"
