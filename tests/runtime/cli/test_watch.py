import io
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from boats_runtime.classifier import Classifier
from boats_runtime.cli import watch
from boats_runtime.cli.results import JsonlWriter, ResultContext
from boats_runtime.cli.watch import FolderWatcher, Journal, classify_new_images
from boats_runtime.errors import DataError, OutputError
from support.special_files import make_special_files
from support.toy_model import ToyModel
from support.watch_process import WatchProcess


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "images"
    path.mkdir()
    return path


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def open_watcher(folder: Path, journal_path: Path) -> Callable[[], FolderWatcher]:
    """Function that opens a watcher of the folder, as after a restart."""
    return lambda: FolderWatcher(folder, Journal(journal_path))


@pytest.fixture
def watcher(open_watcher: Callable[[], FolderWatcher]) -> FolderWatcher:
    return open_watcher()


def poll_names(watcher: FolderWatcher) -> list[str]:
    return [file.path.name for file in watcher.poll()]


def complete_all(watcher: FolderWatcher) -> list[str]:
    """Poll twice, record the ready files as classified, and return their names."""
    watcher.poll()
    files = watcher.poll()
    for file in files:
        watcher.journal.add(str(file.path), file.version)
    return [file.path.name for file in files]


# --- poll


def test_poll__file_is_ready_when_it_stops_growing(folder: Path, watcher: FolderWatcher) -> None:
    path = folder / "a.jpg"
    path.write_bytes(b"half")
    assert poll_names(watcher) == []
    path.write_bytes(b"half and more")
    assert poll_names(watcher) == []
    assert poll_names(watcher) == ["a.jpg"]


def test_poll__images_once_by_name(folder: Path, watcher: FolderWatcher) -> None:
    (folder / "cam").mkdir()
    for name in ("b.jpg", "a.PNG", "cam/c.jpg", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(b"x")
    assert complete_all(watcher) == ["a.PNG", "b.jpg", "c.jpg"]
    assert complete_all(watcher) == []


def test_poll__classified_files_are_known_after_a_restart(
    folder: Path, open_watcher: Callable[[], FolderWatcher]
) -> None:
    (folder / "a.jpg").write_bytes(b"x")
    assert complete_all(open_watcher()) == ["a.jpg"]
    (folder / "b.jpg").write_bytes(b"x")
    assert complete_all(open_watcher()) == ["b.jpg"]


def test_poll__rewritten_file_is_new(folder: Path, watcher: FolderWatcher) -> None:
    for content in (b"x", b"another"):
        (folder / "latest.jpg").write_bytes(content)
        assert complete_all(watcher) == ["latest.jpg"]


def test_poll__folder_that_disappears_for_a_while(folder: Path, watcher: FolderWatcher) -> None:
    (folder / "a.jpg").write_bytes(b"x")
    assert complete_all(watcher) == ["a.jpg"]
    moved = folder.rename(folder.with_name("moved"))
    assert watcher.poll() == []
    folder.mkdir()  # an empty mount point
    assert watcher.poll() == []
    folder.rmdir()
    moved.rename(folder)
    assert complete_all(watcher) == []


def test_poll__sub_folder_that_disappears_for_a_while(
    folder: Path, watcher: FolderWatcher, open_watcher: Callable[[], FolderWatcher]
) -> None:
    (folder / "cam" / "day").mkdir(parents=True)
    for name in ("a.jpg", "cam/b.jpg", "cam/day/c.jpg"):
        (folder / name).write_bytes(b"x")
    assert complete_all(watcher) == ["a.jpg", "b.jpg", "c.jpg"]
    moved = (folder / "cam").rename(folder.with_name("moved"))
    assert complete_all(watcher) == []
    (folder / "cam").mkdir()  # an empty mount point
    (folder / "new.jpg").write_bytes(b"x")
    assert complete_all(watcher) == ["new.jpg"]
    (folder / "cam").rmdir()
    moved.rename(folder / "cam")
    assert complete_all(watcher) == []
    assert complete_all(open_watcher()) == []


def test_poll__removed_image_is_forgotten(folder: Path, watcher: FolderWatcher) -> None:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"x")
    complete_all(watcher)
    (folder / "a.jpg").unlink()
    watcher.poll()
    assert list(watcher.journal.versions) == [str(folder / "b.jpg")]


def test_poll__forgets_the_oldest_images_of_missing_folders(
    folder: Path, watcher: FolderWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MAX_MISSING", 3)
    for day in range(5):
        (folder / f"{day}").mkdir()
        (folder / f"{day}" / "a.jpg").write_bytes(b"x")
        complete_all(watcher)
        shutil.rmtree(folder / f"{day}")
    watcher.poll()
    assert list(watcher.journal.versions) == [str(folder / f"{day}/a.jpg") for day in (2, 3, 4)]


# --- journal


def test_journal__is_rewritten_when_it_grows(
    folder: Path,
    journal_path: Path,
    open_watcher: Callable[[], FolderWatcher],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "MAX_STALE_LINES", 10)
    watcher = open_watcher()
    (folder / "permanent.jpg").write_bytes(b"x")
    for number in range(100):
        path = folder / f"{number:03}.jpg"
        path.write_bytes(b"x")
        assert path.name in complete_all(watcher)
        path.unlink()
    assert len(journal_path.read_bytes().splitlines()) <= 20
    assert complete_all(open_watcher()) == []


def test_journal__incomplete_last_line_is_removed(
    folder: Path, journal_path: Path, open_watcher: Callable[[], FolderWatcher]
) -> None:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"x")
    complete_all(open_watcher())
    journal_path.write_bytes(journal_path.read_bytes()[:-9])
    assert complete_all(open_watcher()) == ["b.jpg"]
    assert journal_path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize(
    "content", [b"my notes\n", b"my notes", b'["a", 1]\n["b", 1, 2]\n', b"{}\n", b"\0" * 9]
)
def test_journal__other_content(journal_path: Path, content: bytes) -> None:
    journal_path.write_bytes(content)
    with pytest.raises(DataError, match="journal: line 1 is not an entry of boats-predict --watch"):
        Journal(journal_path)
    assert journal_path.read_bytes() == content


def test_journal__cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "journal", tmp_path):
        with pytest.raises(OutputError, match="choose another --journal"):
            Journal(path)


# --- classify_new_images


class FakeClock:
    """Replaces the module `time`: each sleep takes 3 seconds and runs one action.

    The sleep after the last action raises `KeyboardInterrupt`.
    """

    def __init__(self, *actions: Callable[[], object]) -> None:
        self._actions = iter(actions)
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, _: float) -> None:
        self._now += 3
        action = next(self._actions, None)
        if action is None:
            raise KeyboardInterrupt
        action()


@pytest.fixture
def run_watch(
    watcher: FolderWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[tuple[str, str]]]:
    """Function that runs the loop with an action after each poll; returns names and statuses."""

    def run(*actions: Callable[[], object]) -> list[tuple[str, str]]:
        monkeypatch.setattr(watch, "time", FakeClock(*actions))
        stream = io.StringIO()
        writer = JsonlWriter(stream, ResultContext("cpu", "digest", 0, 1))
        with (
            Classifier(ToyModel().save(tmp_path / "toy.onnx"), "cpu") as classifier,
            pytest.raises(KeyboardInterrupt),
        ):
            classify_new_images(classifier, watcher, writer)
        results = map(json.loads, stream.getvalue().splitlines())
        return [(Path(result["path"]).name, result["status"]) for result in results]

    return run


def do_nothing() -> None:
    """Let time pass."""


def test_classify_new_images__image_that_is_being_written(
    run_watch: Callable[..., list[tuple[str, str]]], folder: Path, image_path: Path
) -> None:
    content = image_path.read_bytes()
    slow = folder / "slow.jpg"
    slow.write_bytes(content[:800])  # not complete, but does not grow for two polls
    shutil.copy(image_path, folder / "quick.jpg")
    results = run_watch(do_nothing, do_nothing, lambda: slow.write_bytes(content), do_nothing)
    assert results == [("quick.jpg", "ok"), ("slow.jpg", "ok")]


@pytest.mark.parametrize(("polls", "results"), [(4, []), (9, [("broken.jpg", "error")])])
def test_classify_new_images__broken_image_is_reported_after_the_timeout(
    run_watch: Callable[..., list[tuple[str, str]]],
    folder: Path,
    image_path: Path,
    polls: int,
    results: list[tuple[str, str]],
) -> None:
    (folder / "broken.jpg").write_bytes(image_path.read_bytes()[:800])
    assert run_watch(*[do_nothing] * (polls - 1)) == results


def test_classify_new_images__special_files_are_reported(
    run_watch: Callable[..., list[tuple[str, str]]], folder: Path, image_path: Path
) -> None:
    names = make_special_files(folder)
    shutil.copy(image_path, folder / "ok.jpg")
    results = run_watch(*[do_nothing] * 8)
    assert results == [("ok.jpg", "ok"), *((name, "error") for name in names)]


# --- boats-predict --watch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_predict__watch_ends_after_an_interrupt(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with WatchProcess(folder, ToyModel().save(tmp_path / "toy.onnx")) as process:
        assert process.stop(number) == (130, [])


def test_predict__watch_classifies_each_image_once_over_kills(
    folder: Path, tmp_path: Path, image_path: Path
) -> None:
    model = ToyModel().save(tmp_path / "toy.onnx")
    names = [f"{number:02}.jpg" for number in range(24)]
    classified: list[str] = []
    for start in (0, 8, 16):
        with WatchProcess(folder, model) as process:
            for name in names[start : start + 8]:
                shutil.copy(image_path, folder / name)
            classified += [process.read_name() for _ in range(4)]
            classified += process.stop(signal.SIGKILL)[1]
    with WatchProcess(folder, model) as process:
        shutil.copy(image_path, folder / "last.jpg")
        while (name := process.read_name()) != "last.jpg":
            classified.append(name)
    assert set(classified) == set(names)
    # A kill between a result and its journal entry repeats this result.
    assert len(classified) <= len(names) + 3
