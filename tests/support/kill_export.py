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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import torch

from boats_export import export, quantize
from boats_export.export import Exporter, ExportSettings
from boats_export.network import export_network
from boats_export.verification_images import PREFETCH_DEPTH
from boats_train.runs.run import Run, load_run

KILLS = {"fp32": 15, "int8": 5}
"""Number of kills by the precision; one of them while the file is half written."""

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir"}
"""Audit events of Python that are counted; they are raised before the operation."""

OLDER = b"older"
HALF_WRITTEN = ("half written", 0)
SIZE_LIMIT = 1_000_000

Kill = tuple[str, int]
"""Kind and number, from 1, of the file operation before which a child process is killed. The kind
`output` is in the folder of the file, `image` on an image."""


def export_file(run: Run, out: Path, precision: str, notify: Callable[[str], None]) -> None:
    """Export and report the kind of each file operation."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        path = Path(str(arguments[0])) if event in EVENTS else Path()
        if path.is_relative_to(out.parent):
            notify("output")
        elif path.suffix == ".jpg":
            notify("image")

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
    """Export in a child process and return the kinds of its file operations."""
    listing = out.with_name("events.txt")

    def task() -> None:
        kinds: list[str] = []
        export_file(run, out, precision, kinds.append)
        listing.write_text("\n".join(list(kinds)))

    if run_child(task):
        raise RuntimeError("the export failed")
    kinds = listing.read_text().splitlines()
    listing.unlink()
    return kinds


def choose_kills(kinds: list[str], count: int) -> list[Kill]:
    """Return random kills, most of them at operations in the folder of the file."""
    rng = random.Random(0)  # noqa: S311
    outputs = kinds.count("output") - 1  # without the list of the events
    # How many images are decoded ahead at the end depends on the threads.
    images = kinds.count("image") - 2 * PREFETCH_DEPTH
    chosen = rng.sample(range(1, outputs + 1), min(outputs, count - 3))
    kills = [("output", number) for number in sorted(chosen)]
    others = rng.sample(range(1, images + 1), count - 1 - len(kills))
    return [*kills, *(("image", number) for number in others), HALF_WRITTEN]


def kill(run: Run, out: Path, precision: str, where: Kill) -> int:
    """Export in a child process that is killed; return its exit code."""
    lock = threading.Lock()
    counts: Counter[str] = Counter()

    def notify(kind: str) -> None:
        with lock:
            counts[kind] += 1
            if where == (kind, counts[kind]):
                os.kill(os.getpid(), signal.SIGKILL)

    def task() -> None:
        if where == HALF_WRITTEN:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # a write beyond the limit then kills
            resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE_LIMIT, SIZE_LIMIT))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        export_file(run, out, precision, notify)

    return run_child(task)


def kill_all(run: Run, folder: Path, precision: str) -> dict[str, object]:
    """Kill exports in one precision and return what happened."""
    folder.mkdir()
    out = folder / "boats.onnx"
    kills = choose_kills(list_events(run, out, precision), KILLS[precision])
    whole = out.read_bytes()
    results = []
    for where in kills:
        out.write_bytes(OLDER)
        code = kill(run, out, precision, where)
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
