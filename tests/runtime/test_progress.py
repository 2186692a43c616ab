import io
import sys

import pytest

from boats_runtime import progress
from boats_runtime.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_show_progress__on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PAUSE_S", 0)
    assert list(track("abc", "photos")) == ["a", "b", "c"]
    lines = terminal.getvalue().split("\r")
    assert [line.split(",")[0] for line in lines[1:4]] == ["1 photos", "2 photos", "3 photos"]
    assert lines[-1] == "\033[K"


def test_show_progress__is_wiped_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    items = track("abc", "photos")
    next(items)
    items.close()
    assert terminal.getvalue().endswith("\r\033[K")


def test_show_progress__nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "photos")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
