"""Run `boats-predict` again and again, and kill all processes but the last at a counted event.

Usage: python kill_predict.py output|watch KILLS MODEL FOLDER

`output` classifies FOLDER into results.jsonl in the current folder. `watch` watches FOLDER, prints
to results.jsonl, and is interrupted when all images have a result. The commands run in child
processes that share the imports of this one. Their exit codes are printed as JSON.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnxruntime  # noqa: F401 - imported once, before the processes fork

from boats_runtime.classifier import Classifier  # noqa: F401
from boats_runtime.cli import predict, watch
from boats_runtime.cli.results_file import ResultsFile
from boats_runtime.prediction import Outcome

OUT = Path("results.jsonl")


def kill() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_line(count: int, place: str) -> None:
    """Kill the process before, in or after a line of `--output`, counted from 1."""
    write = ResultsFile.write

    def write_and_count(self: ResultsFile, outcome: Outcome) -> None:
        nonlocal count
        count -= 1
        if not count and place != "after":
            line = json.dumps(self._context.to_json(outcome))
            self._stream.write(line[: len(line) // 2] if place == "in" else "")
            self._stream.flush()
            kill()
        write(self, outcome)
        if not count:
            kill()

    ResultsFile.write = write_and_count


def kill_at_result(count: int, place: str, images: int) -> None:
    """Kill the process before a result of `--watch` is printed or after it is recorded."""
    record = watch.Journal.record

    @contextmanager
    def record_and_count(
        self: watch.Journal, name: str, version: watch.FileVersion
    ) -> Iterator[None]:
        nonlocal count
        count -= 1
        if not count and place == "before":
            kill()
        with record(self, name, version):
            yield
        if not count:
            kill()
        if len(self.versions) == images:
            raise KeyboardInterrupt

    watch.Journal.record = record_and_count
    watch.POLL_INTERVAL_S = 0.01


def run_child(mode: str, model: str, folder: str, number: int) -> int:
    """Run the command in a child process; kill it unless the number is negative."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    options = ["--model", model, "--provider", "cpu", "--quiet"]
    count = 3 if number >= 0 else -1
    if mode == "watch":
        kill_at_result(count, ("before", "after")[number % 2], len(list(Path(folder).iterdir())))
        os.dup2(os.open(OUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT), sys.stdout.fileno())
        options += ["--watch", folder, "--journal", "journal"]
    else:
        place = ("before", "in", "after", "rewrite")[number % 4]
        if number >= 0 and place == "rewrite":
            os.fsync = lambda _: kill()
        else:
            kill_at_line(count, place)
        options += [folder, "--output", str(OUT), "--resume"]
    sys.argv = [predict.COMMAND, *options]
    try:
        predict.main()
    except SystemExit as stop:
        os._exit(stop.code if isinstance(stop.code, int) else 2)
    finally:
        os._exit(99)


if __name__ == "__main__":
    mode, kills, model, folder = sys.argv[1:]
    numbers = [*range(int(kills)), -1]
    print(json.dumps([run_child(mode, model, folder, number) for number in numbers]))
