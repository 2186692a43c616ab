"""A `boats-predict --watch` process whose results tests can wait for."""

import json
import signal
import subprocess
from pathlib import Path
from threading import Timer
from typing import Self

from support.process import BIN, clean_environment, module_command

TIMEOUT_S = 60


class WatchProcess:
    """A running `boats-predict --watch`; killed at the end of the context and after a timeout.

    Args:
        folder: Folder to watch.
        model: Exported model.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        options = ("--watch", folder, "--model", model, "--provider", "cpu")
        self._process = subprocess.Popen(
            module_command("support.launcher", 0, BIN / "boats-predict", *options),
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._timer = Timer(TIMEOUT_S, self._process.kill)

    def __enter__(self) -> Self:
        self._timer.start()
        assert self._process.stderr
        assert "watching" in self._process.stderr.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()

    def read_name(self) -> str:
        """Wait for a result and return the file name of its image."""
        assert self._process.stdout
        return _get_name(self._process.stdout.readline())

    def stop(self, number: signal.Signals) -> tuple[int, list[str]]:
        """Send a signal; return the exit code and the file names of the remaining results."""
        self._process.send_signal(number)
        assert self._process.stdout
        names = [_get_name(line) for line in self._process.stdout]
        return self._process.wait(), names


def _get_name(line: str) -> str:
    return Path(json.loads(line)["path"]).name
