"""One turn of a benchmark, in a process of its own: load a file, warm up, time it, say so.

    python -m boats_benchmark.trial '{"model": "boats.onnx", ...}'

A process of its own makes load time, first run and peak of memory those of a fresh start, and
leaves no session behind whose threads disturb the next one.
"""

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_benchmark.load import Load, serve
from boats_benchmark.timing import Plan, time_runs
from boats_runtime.classifier import Classifier
from boats_runtime.errors import BoatsError
from boats_runtime.preprocessing import decode

STAGES = ("decode", "preprocess", "inference", "post")

STAGE_PHOTOS = 20
"""Photos whose stages are timed apart."""


@dataclass(frozen=True)
class Turn:
    """What to measure, and how long.

    Attributes:
        model: The file.
        provider: The provider's name.
        batch: Photos at once.
        threads: That work on a run; None for all that are granted.
        spin: Whether they spin while they wait.
        seconds: To measure at least.
        count: Runs to measure at least.
        photos: Files to classify; where there are none, one is drawn.
        rate: Photos a second that arrive, for the Server scenario; 0 for one run after the other.
        bound_s: Of the 99th percentile there; a trial that can't keep it any more is given up.
        seed: Of the arrivals.
    """

    model: str
    provider: str
    batch: int
    threads: int | None
    spin: bool
    seconds: float
    count: int
    photos: tuple[str, ...] = ()
    rate: float = 0.0
    bound_s: float = 1e9
    seed: int = 0

    def to_json(self) -> str:
        """Returns the argument for the process."""
        return json.dumps(asdict(self))


def take_turn(turn: Turn) -> dict[str, Any]:
    """Measures, in this process.

    Returns:
        `load_ms`, `first_ms`, `values_ns` (of each run, or each photo's latency under load),
        `stages_ms`, `cpu_s` and `wall_s` of the timed runs, `peak_mb`, `gpu_mb`, `provider`,
        `nodes`, `digest`.
    """
    started = time.perf_counter()
    classifier = Classifier(turn.model, turn.provider, threads=turn.threads, spin=turn.spin)
    loaded = time.perf_counter()
    contents = [Path(name).read_bytes() for name in turn.photos] or [draw_photo(classifier)]
    pixels = [classifier.prepare(content) for content in contents]
    batch = np.stack([pixels[index % len(pixels)] for index in range(turn.batch)])
    before_first = time.perf_counter()
    classifier.run(batch)
    first = time.perf_counter()
    cpu, wall = time.process_time(), time.perf_counter()
    values = _time(classifier, batch, turn)
    return {
        "load_ms": (loaded - started) * 1000,
        "first_ms": (first - before_first) * 1000,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "values_ns": values.tolist(),
        "stages_ms": time_stages(classifier, contents),
        "peak_mb": peak_mb(),
        "gpu_mb": gpu_mb() if classifier.provider != "cpu" else None,
        "provider": classifier.provider,
        "nodes": dict(classifier.nodes),
        "digest": classifier.metadata.digest,
    }


def _time(classifier: Classifier, batch: NDArray[np.uint8], turn: Turn) -> NDArray[np.int64]:
    plan = Plan(warm_up=3, min_count=turn.count, min_seconds=turn.seconds)
    if not turn.rate:
        # `run` returns arrays in the CPU's memory: whatever the provider, it is finished then.
        return time_runs(lambda: classifier.run(batch), plan)
    for size in range(1, turn.batch + 1):
        classifier.run(batch[:size])
    count = max(turn.count, int(turn.rate * turn.seconds))
    load = Load(turn.rate, count, turn.batch, turn.seed, turn.bound_s)
    return serve(lambda size: classifier.run(batch[:size]), load)


def time_stages(classifier: Classifier, contents: list[bytes]) -> dict[str, float]:
    """Returns the median time of each of `STAGES` for one photo, in milliseconds."""
    times: list[list[float]] = []
    for index in range(STAGE_PHOTOS):
        content = contents[index % len(contents)]
        started = time.perf_counter()
        image = decode(content)
        decoded = time.perf_counter()
        pixels = classifier.metadata.preprocessing.apply(image)[np.newaxis]
        ready = time.perf_counter()
        probabilities, labels = classifier.run(pixels)
        ran = time.perf_counter()
        classifier.rank(probabilities, labels, 0.0)
        done = time.perf_counter()
        moments = (started, decoded, ready, ran, done)
        times.append([1000 * (b - a) for a, b in pairwise(moments)])
    medians = np.median(np.array(times), axis=0)
    return dict(zip(STAGES, medians.tolist(), strict=True))


def draw_photo(classifier: Classifier) -> bytes:
    """Draws a JPEG of the network's own size: noise over a gradient, as large as a real one."""
    size = classifier.metadata.preprocessing
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, size.width)[np.newaxis, :, np.newaxis]
    noise = rng.normal(0, 8, (size.height, size.width, 3))
    image = Image.fromarray((ramp + noise).clip(0, 255).astype(np.uint8))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def peak_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """Returns the largest memory this process has had, in 10^6 bytes; None where nobody says."""
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    peaks = [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else None


def gpu_mb(
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run,
) -> float | None:
    """Returns the GPU's memory in use, as NVIDIA's own tool has it; None without it.

    Args:
        run: Starts a process.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    result = run(command, capture_output=True, text=True, check=False)
    first = next(iter(result.stdout.splitlines()), "")
    return float(first) * 1024**2 / 1e6 if first.strip().isdecimal() else None


def main() -> None:
    """Takes the turn that the argument tells, and prints what came of it as a line of JSON."""
    try:
        answer = take_turn(Turn(**json.loads(sys.argv[1])))
    except BoatsError as error:
        answer = {"error": str(error), "exit_code": error.exit_code}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
