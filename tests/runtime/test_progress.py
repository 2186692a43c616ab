import io
import sys

import pytest

from boats_runtime import progress
from boats_runtime.progress import track


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Make standard error a terminal on which every update is shown, and return it.

    Not a fixture: pytest replaces standard error when the test itself starts.
    """
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "INTERVAL_S", 0)
    return stream


def list_updates(terminal: io.StringIO) -> list[str]:
    """Return the texts shown before the line is cleared, without the rate."""
    *updates, last = terminal.getvalue().split("\r\033[K")[1:]
    assert last == ""
    return [update.partition(",")[0] for update in updates]


@pytest.mark.parametrize(
    ("total", "step", "updates"),
    [
        (None, 1, ["1 images", "2 images", "3 images"]),
        (3, 1, ["1/3 images", "2/3 images", "3/3 images"]),
        (5, 2, ["2/5 images", "4/5 images", "5/5 images"]),
    ],
)
def test_track__on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, total: int | None, step: int, updates: list[str]
) -> None:
    terminal = open_terminal(monkeypatch)
    assert list(track("abc", "images", total, step)) == ["a", "b", "c"]
    assert list_updates(terminal) == updates


def test_track__remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    times = iter((0.0, 10.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    items = track("abc", "images", 14)
    next(items)
    next(items)
    items.close()
    assert "1/14 images, 0.1/s, 2:10 left" in terminal.getvalue()


def test_track__is_cleared_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    items = track("abc", "images")
    next(items)
    items.close()
    assert list_updates(terminal) == []


def test_track__no_output_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "images")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
