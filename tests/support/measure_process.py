"""Run a process with a time limit and measure its peak memory.

Usage: python measure_process.py RESULT_FILE TIMEOUT_S COMMAND...

Linux counts the memory of a parent process in the peak of its children, so the parent must be
small: this program imports the standard library only.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessResult:
    """Exit code, output and peak memory in MB of a finished process."""

    returncode: int
    stdout: str
    stderr: str
    peak_mb: float


def measure_process(command: list[object], folder: Path, timeout_s: int) -> ProcessResult:
    """Run a command; it is killed at the time limit.

    Args:
        command: Program and arguments.
        folder: Existing folder for a temporary file.
        timeout_s: Time limit in seconds.
    """
    path = folder / "process.json"
    result = subprocess.run(
        [sys.executable, __file__, path, str(timeout_s), *map(str, command)],
        env={key: value for key, value in os.environ.items() if not key.startswith("BOATS_")},
        capture_output=True,
        check=False,
    )
    stdout, stderr = (text.decode(errors="replace") for text in (result.stdout, result.stderr))
    returncode, peak_mb = json.loads(path.read_text())
    return ProcessResult(returncode, stdout, stderr, peak_mb)


def main() -> None:
    """Run the command of the command line and write its exit code and peak memory."""
    path, timeout_s, *command = sys.argv[1:]
    process = subprocess.Popen(command)
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.alarm(int(timeout_s))
    _, status, usage = os.wait4(process.pid, 0)
    result = [os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1000]
    Path(path).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
