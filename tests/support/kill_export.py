"""Kill an export at many points, and let it finish at the end.

Usage: python kill_export.py RUN FOLDER

For each precision, child processes export FOLDER/PRECISION/boats.onnx and kill themselves. The path
has an older file before each of them. Printed as JSON, for each precision: the exit code of each
child process, the content of the path after it, and the number of files that it left; and the names
in the folder after an export that was not killed.
"""

import json
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import onnx
import torch

from boats_export import export, quantize
from boats_export.export import Exporter, ExportSettings
from boats_export.network import export_network
from boats_train.runs.run import Run, load_run

KILLS = {"fp32": 15, "int8": 5}
"""Number of kills by the precision; one of them while the file is half written."""

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir"}
"""Audit events of Python that are counted; they are raised before the operation."""

OLDER = b"older"
HALF_WRITTEN = -1
SIZE_LIMIT = 1_000_000


def export_file(run: Run, out: Path, precision: str, notify: Callable[[str], None]) -> None:
    """Export and report each file operation by its path."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS:
            notify(str(arguments[0]))

    exporter = Exporter(
        run,
        ExportSettings(precision, max_drop=100, target="any", allow_lost_classes=True),
        lambda _: None,
    )
    sys.addaudithook(hook)
    exporter.export(out)


def run_child(task: Callable[[], None]) -> int:
    """Run a task in a child process and return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            task()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def list_events(run: Run, out: Path, precision: str) -> list[str]:
    """Export in a child process and return the paths of its file operations."""
    listing = out.with_name("events.txt")

    def task() -> None:
        paths: list[str] = []
        export_file(run, out, precision, paths.append)
        listing.write_text("\n".join(path.replace("\n", " ") for path in list(paths)))

    if run_child(task):
        raise RuntimeError("the export failed")
    paths = listing.read_text().splitlines()
    listing.unlink()
    return paths


def choose_kills(paths: list[str], folder: Path, count: int) -> list[int]:
    """Return the numbers of random file operations, from 1, most of them in the folder."""
    rng = random.Random(0)  # noqa: S311
    inside = [n for n, path in enumerate(paths, 1) if Path(path).is_relative_to(folder)]
    outside = [n for n, path in enumerate(paths, 1) if not Path(path).is_relative_to(folder)]
    inside = sorted(rng.sample(inside, min(len(inside), count - 3)))
    return [*inside, *rng.sample(outside, count - 1 - len(inside)), HALF_WRITTEN]


def kill(run: Run, out: Path, precision: str, number: int) -> int:
    """Export in a child process that is killed before a file operation; return its exit code."""
    lock = threading.Lock()
    count = 0

    def notify(_: str) -> None:
        nonlocal count
        with lock:
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def task() -> None:
        if number == HALF_WRITTEN:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # a write beyond the limit then kills
            resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE_LIMIT, SIZE_LIMIT))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        export_file(run, out, precision, notify)

    return run_child(task)


def kill_all(run: Run, folder: Path, precision: str) -> dict[str, object]:
    """Kill exports in one precision and return what happened."""
    folder.mkdir()
    out = folder / "boats.onnx"
    kills = choose_kills(list_events(run, out, precision), folder, KILLS[precision])
    whole = out.read_bytes()
    results = []
    for number in kills:
        out.write_bytes(OLDER)
        code = kill(run, out, precision, number)
        content = {OLDER: "older", whole: "whole"}.get(out.read_bytes(), "damaged")
        results.append((code, content, len(list(folder.iterdir())) - 1))
    code = run_child(lambda: export_file(run, out, precision, lambda _: None))
    names = sorted(path.name for path in folder.iterdir())
    return {"kills": results, "code": code, "names": names, "whole": out.read_bytes() == whole}


def main() -> None:
    """Run the child processes."""
    torch.set_num_threads(1)
    run = load_run(Path(sys.argv[1]))
    network = export_network(run.network, run.preprocessing)  # once, because it takes seconds

    def copy_network(*_: object) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(network)
        return copy

    export.export_network = copy_network
    quantize.METHODS = {"minmax": quantize.METHODS["minmax"]}
    folder = Path(sys.argv[2])
    print(json.dumps({name: kill_all(run, folder / name, name) for name in KILLS}))


if __name__ == "__main__":
    main()
