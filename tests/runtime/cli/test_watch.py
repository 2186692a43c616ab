import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from boats_runtime.cli import watch as module
from boats_runtime.cli.watch import Landed, Watch
from boats_runtime.errors import DataError, OutputError
from support.process import run_command

DEADLINE_S = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "landing"
    place.mkdir()
    return place


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def look(watch: Watch) -> list[str]:
    return [landed.path.name for landed in watch.look()]


# --- look and done


def test_look__a_photo_is_there_when_it_has_stopped_growing(folder: Path, journal: Path) -> None:
    watch = Watch(folder, journal)
    photo = folder / "a.jpg"
    photo.write_bytes(b"half")
    assert look(watch) == []
    photo.write_bytes(b"half and more")
    assert look(watch) == []
    assert look(watch) == ["a.jpg"]
    watch.close()


def test_look__each_once_in_order_and_below(folder: Path, journal: Path) -> None:
    watch = Watch(folder, journal)
    (folder / "cam").mkdir()
    for name in ("b.jpg", "a.PNG", "cam/c.jpg", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(b"x")
    watch.look()
    ready = watch.look()
    assert [str(one.path.relative_to(folder)) for one in ready] == ["a.PNG", "b.jpg", "cam/c.jpg"]
    for landed in ready:
        watch.done(landed)
    assert look(watch) == look(watch) == []
    watch.close()


def test_look__not_again_after_a_restart(folder: Path, journal: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"x")
    watch = Watch(folder, journal)
    watch.look()
    watch.done(watch.look()[0])
    watch.close()
    again = Watch(folder, journal)
    again.look()
    assert look(again) == ["b.jpg"]
    again.close()


def test_look__written_anew_is_a_new_photo(folder: Path, journal: Path) -> None:
    photo = folder / "latest.jpg"
    photo.write_bytes(b"x")
    watch = Watch(folder, journal)
    watch.look()
    watch.done(watch.look()[0])
    photo.write_bytes(b"another")
    watch.look()
    assert look(watch) == ["latest.jpg"]
    watch.close()


def test_look__broken_gets_its_time(
    folder: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    (folder / "a.jpg").write_bytes(b"x")
    watch = Watch(folder, journal)
    watch.look()
    (landed,) = watch.look()
    landed.tried = True  # could not be decoded: it may still be on its way
    assert not landed.last_call
    now[0] += module.PATIENCE_S / 2
    assert watch.look() == []
    now[0] += module.PATIENCE_S / 2
    (last,) = watch.look()
    assert last.last_call
    watch.done(last)
    assert watch.look() == []
    watch.close()


def test_look__folder_or_photo_that_vanishes(folder: Path, journal: Path) -> None:
    (folder / "a.jpg").write_bytes(b"x")
    watch = Watch(folder, journal)
    watch.look()
    watch.done(watch.look()[0])
    away = folder.rename(folder.with_name("away"))
    assert watch.look() == []
    folder.mkdir()  # an empty mount point
    assert watch.look() == []
    folder.rmdir()
    away.rename(folder)
    watch.look()
    assert watch.look() == []  # still known
    watch.close()


def test_done__the_journal_does_not_grow_for_ever(
    folder: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLACK", 10)
    watch = Watch(folder, journal)
    (folder / "stays.jpg").write_bytes(b"x")
    for number in range(100):
        photo = folder / f"{number:03}.jpg"
        photo.write_bytes(b"x")
        watch.look()
        for landed in watch.look():
            watch.done(landed)
        photo.unlink()
    assert len(journal.read_bytes().splitlines()) <= 20
    watch.close()
    again = Watch(folder, journal)
    again.look()
    assert again.look() == []
    again.close()


def test_watch__torn_last_line(folder: Path, journal: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"x")
    watch = Watch(folder, journal)
    watch.look()
    for landed in watch.look():
        watch.done(landed)
    watch.close()
    journal.write_bytes(journal.read_bytes()[:-9])
    again = Watch(folder, journal)
    again.look()
    assert look(again) == ["b.jpg"]
    again.close()
    assert journal.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    "content", [b"my notes\n", b"my notes", b'["a", 1]\n["b", 1, 2]\n', b"{}\n", b"\0" * 9]
)
def test_watch__journal_of_something_else(folder: Path, journal: Path, content: bytes) -> None:
    journal.write_bytes(content)
    with pytest.raises(DataError, match=r"journal: line 1 is none of boats-predict --watch"):
        Watch(folder, journal)
    assert journal.read_bytes() == content


def test_watch__journal_that_cant_be_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="name another --journal"):
        Watch(folder, tmp_path / "missing" / "journal")
    with pytest.raises(OutputError, match="name another --journal"):
        Watch(folder, tmp_path)


def test_landed__starts_untried(folder: Path) -> None:
    landed = Landed(folder / "a.jpg", (1, 2), 3.0)
    assert not landed.tried
    assert not landed.last_call


# --- boats-predict --watch


class Process:
    """`boats-predict --watch`, and the lines that it has printed."""

    def __init__(self, folder: Path, model: Path, cwd: Path) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith("BOATS_")}
        launch = (
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "sys.argv[0] = 'boats-predict'; from boats_runtime.cli.predict import main; main()"
        )
        options = ["--watch", folder, "--model", model, "--provider", "cpu"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", launch, *map(str, options)],
            cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        assert self.process.stderr
        assert self.process.stdout
        while "watching" not in (line := self.process.stderr.readline()):
            assert line, "it ended"
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(self.process.stdout)

    def wait_for(self, count: int) -> list[str]:
        """Waits for lines, and returns the names of their photos."""
        until = time.monotonic() + DEADLINE_S
        while len(self.lines) < count:
            assert time.monotonic() < until, f"{len(self.lines)} of {count} lines"
            assert self.process.poll() is None
            time.sleep(0.02)
        return [Path(json.loads(line)["path"]).name for line in self.lines]

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        code = self.process.wait(DEADLINE_S)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()
        return code


@pytest.fixture
def start(folder: Path, tiny_model: Path, tmp_path: Path) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def launch() -> Process:
        started.append(Process(folder, tiny_model, tmp_path))
        return started[-1]

    yield launch
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_predict__watch_ends_when_interrupted(
    start: Callable[[], Process], how: signal.Signals
) -> None:
    assert start().end(how) == 130


def test_predict__watch_a_photo_that_is_being_written(
    start: Callable[[], Process], folder: Path, image_path: Path
) -> None:
    process = start()
    content = image_path.read_bytes()
    with (folder / "slow.jpg").open("wb") as stream:
        stream.write(content[:800])
        stream.flush()
        shutil.copy(image_path, folder / "quick.jpg")
        assert process.wait_for(1) == ["quick.jpg"]
        time.sleep(3 * module.PAUSE_S)  # it has stopped growing, but can't be decoded
        assert len(process.lines) == 1
        stream.write(content[800:])
    assert process.wait_for(2) == ["quick.jpg", "slow.jpg"]
    results = [json.loads(line) for line in process.lines]
    assert [one["status"] for one in results] == ["ok", "ok"]
    assert results[0]["label"] == results[1]["label"]
    process.end(signal.SIGINT)


def test_predict__watch_each_once_over_kills(
    start: Callable[[], Process], folder: Path, image_path: Path
) -> None:
    names = [f"{number:02}.jpg" for number in range(24)]
    printed: list[str] = []
    for first in range(0, 24, 8):
        process = start()
        for name in names[first : first + 8]:
            shutil.copy(image_path, folder / name)
        process.wait_for(4)
        process.end(signal.SIGKILL)
        printed += [Path(json.loads(line)["path"]).name for line in process.lines]
    last = start()
    left = set(names) - set(printed)
    last.wait_for(len(left))
    time.sleep(2 * module.PAUSE_S)
    last.end(signal.SIGINT)
    printed += [Path(json.loads(line)["path"]).name for line in last.lines]
    assert set(printed) == set(names)
    # A kill between a line and its entry in the journal may repeat that one image_path.
    assert len(printed) <= len(names) + 3


def test_predict__watch_broken_photo(
    start: Callable[[], Process], folder: Path, image_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(folder.parent / "patch"))
    (folder.parent / "patch").mkdir()
    (folder.parent / "patch" / "sitecustomize.py").write_text(
        "import boats_runtime.cli.watch\nboats_runtime.watch.PATIENCE_S = 1.0\n"
    )
    process = start()
    (folder / "broken.jpg").write_bytes(image_path.read_bytes()[:800])
    process.wait_for(1)
    result = json.loads(process.lines[0])
    assert (result["status"], Path(result["path"]).name) == ("error", "broken.jpg")
    assert process.end(signal.SIGINT) == 130


@pytest.mark.parametrize("options", [["--json"], ["--csv"], ["--output", "x.jsonl"], ["photo.jpg"]])
def test_predict__watch_goes_alone(
    folder: Path,
    tiny_model: Path,
    tmp_path: Path,
    options: list[str],
) -> None:
    result = run_command(
        "boats-predict", "--model", tiny_model, "--watch", folder, *options, cwd=tmp_path
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "--watch" in result.stderr


def test_predict__journal_of_no_folder(
    tiny_model: Path,
    image_path: Path,
    tmp_path: Path,
) -> None:
    options = ("--model", tiny_model, "--journal", "done.jsonl", image_path)
    result = run_command("boats-predict", *options, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--journal is where --watch DIR notes what is done" in result.stderr
    assert not (tmp_path / "done.jsonl").exists()


def test_predict__watch_no_such_folder(tiny_model: Path, tmp_path: Path) -> None:
    result = run_command("boats-predict", "--model", tiny_model, "--watch", "none", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (
        2, "boats-predict: --watch none: no such folder\n",
    )  # fmt: skip
