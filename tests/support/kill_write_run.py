"""Kill the writing of a run folder at many points, and let it finish at the end.

Usage: python kill_write_run.py RUN RUNS KILLS

RUNS has a complete run before the first kill. Printed as JSON: the exit code of each child process
and the name of the latest run after it, which is read completely; the names in RUNS after a write
that was not killed, and the name of the latest run then.
"""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from boats_train.runs.run import Run, find_run, load_run, write_run
from support.kill_export import EVENTS, run_child


def write(run: Run, runs: Path, name: str, kill_at: int) -> int:
    """Write a run; kill the process before an operation in the folder; return their number."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in EVENTS and Path(str(arguments[0])).is_relative_to(runs):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    write_run(run, runs, name)
    return count


def count_operations(run: Run, runs: Path) -> int:
    """Return the number of file operations of a write in a child process."""
    listing = runs.with_name("count.txt")
    if run_child(lambda: listing.write_text(str(write(run, runs, "counted", 0)))):
        raise RuntimeError("the run was not written")
    return int(listing.read_text())


def main() -> None:
    """Run the child processes."""
    run = load_run(Path(sys.argv[1]))
    runs, kills = Path(sys.argv[2]), int(sys.argv[3])
    write_run(run, runs, "first")
    total = count_operations(run, runs)
    results = []
    for number, position in enumerate(np.linspace(1, total, kills, dtype=int).tolist()):
        code = run_child(lambda: write(run, runs, f"killed-{number}", position))  # noqa: B023
        load_run(runs)
        results.append((code, find_run(runs).resolve().name))
    code = run_child(lambda: write(run, runs, "last", 0))
    names = sorted(path.name for path in runs.iterdir())
    latest = find_run(runs).resolve().name
    print(json.dumps({"kills": results, "code": code, "names": names, "latest": latest}))


if __name__ == "__main__":
    main()
