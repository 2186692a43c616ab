"""One trial of a benchmark in a separate process: load a file, warm up, and time it.

    python -m boats_benchmark.trial '{"model": "boats.onnx", ...}'

A new process has the load time, first run and peak memory of a fresh start, and the threads of
another session cannot disturb it. It prints the result as one line of JSON. With a `max_rate`, it
tries rates of the server scenario instead.
"""

import io
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boats_benchmark.load import Attempt, Load, try_rates
from boats_benchmark.timing import TimingSettings, time_interleaved
from boats_runtime.classifier import Classifier
from boats_runtime.decoding import decode
from boats_runtime.errors import BoatsError

STAGES = ("decode", "preprocess", "inference", "post")

STAGE_IMAGES = 20
"""Number of images whose stages are timed separately."""


@dataclass(frozen=True)
class Trial:
    """Settings of a trial.

    Attributes:
        model: Path of the exported file.
        provider: Name of the provider.
        batch: Batch size.
        threads: Number of threads; None for all available CPUs.
        spin: Whether idle threads spin.
        seconds: Smallest duration of the timed runs, or duration of the server scenario.
        min_runs: Smallest number of timed runs; not used by the server scenario.
        images: Paths of the images to classify; empty for a synthetic one.
        max_rate: Upper limit of the rates of the server scenario, in images per second; 0 for
            one run after another.
        bound_s: Bound on the latency of 99% of the images in the server scenario, in seconds.
        seed: Seed for the arrival times.
    """

    model: str
    provider: str
    batch: int
    threads: int | None
    spin: bool
    seconds: float
    min_runs: int
    images: tuple[str, ...] = ()
    max_rate: float = 0.0
    bound_s: float = 1e9
    seed: int = 0


@dataclass(frozen=True)
class TrialResult:
    """Measurements of a trial.

    Attributes:
        load_ms: Time to open the file.
        first_ms: Duration of the first run.
        cpu_s: CPU time of the timed runs.
        wall_s: Elapsed time of the timed runs.
        values_ns: Duration of each run.
        stages_ms: Median duration of each of the `STAGES` for one image.
        peak_mb: Peak memory of the process in 10^6 bytes; None if unknown.
        gpu_mb: Used memory of the GPU in 10^6 bytes; None on the CPU or if unknown.
        provider: Provider that ran the model.
        nodes: Number of nodes by ONNX Runtime's provider name.
        digest: Digest of the file.
    """

    load_ms: float
    first_ms: float
    cpu_s: float
    wall_s: float
    values_ns: list[int]
    stages_ms: dict[str, float]
    peak_mb: float | None
    gpu_mb: float | None
    provider: str
    nodes: dict[str, int]
    digest: str


def run_trial(trial: Trial) -> TrialResult:
    """Run a trial in this process.

    Raises:
        BoatsError: If the file, the provider or an image cannot be used.
    """
    start = time.perf_counter()
    classifier = open_classifier(trial)
    load_s = time.perf_counter() - start
    contents = read_images(classifier, trial)
    batch = make_batch(classifier, contents, trial.batch)
    start = time.perf_counter()
    classifier.run(batch)
    first_s = time.perf_counter() - start
    settings = TimingSettings(warmup_calls=3, min_rounds=trial.min_runs, min_seconds=trial.seconds)
    cpu_start, start = time.process_time(), time.perf_counter()
    # A run on a GPU has finished when it returns: its outputs are in CPU memory.
    values = time_interleaved({"run": lambda: classifier.run(batch)}, settings)["run"].ravel()
    cpu_s, wall_s = time.process_time() - cpu_start, time.perf_counter() - start
    return TrialResult(
        load_s * 1000,
        first_s * 1000,
        cpu_s,
        wall_s,
        values.tolist(),
        time_stages(classifier, contents),
        read_peak_mb(),
        None if classifier.provider == "cpu" else read_gpu_mb(),
        classifier.provider,
        dict(classifier.nodes),
        classifier.metadata.digest,
    )


def run_server(trial: Trial) -> list[Attempt]:
    """Try rates of the server scenario in this process.

    Raises:
        BoatsError: If the file, the provider or an image cannot be used.
    """
    classifier = open_classifier(trial)
    batch = make_batch(classifier, read_images(classifier, trial), trial.batch)
    # Accelerators choose their kernels at the first run of each batch size.
    sizes = {1, trial.batch} if classifier.provider == "cpu" else range(1, trial.batch + 1)
    for size in sizes:
        classifier.run(batch[:size])
    load = Load(trial.max_rate, trial.seconds, trial.batch, trial.bound_s, trial.seed)
    return list(try_rates(lambda size: classifier.run(batch[:size]), load))


def open_classifier(trial: Trial) -> Classifier:
    """Open the file of a trial."""
    return Classifier(trial.model, trial.provider, threads=trial.threads, spin=trial.spin)


def read_images(classifier: Classifier, trial: Trial) -> list[bytes]:
    """Return the images of a trial, or a synthetic one."""
    return [Path(name).read_bytes() for name in trial.images] or [draw_image(classifier)]


def make_batch(classifier: Classifier, contents: list[bytes], size: int) -> NDArray[np.uint8]:
    """Return a batch of the images, (size, H, W, 3) uint8."""
    pixels = [classifier.prepare(content) for content in contents]
    return np.stack([pixels[index % len(pixels)] for index in range(size)])


def time_stages(classifier: Classifier, contents: list[bytes]) -> dict[str, float]:
    """Return the median duration of each of the `STAGES` for one image, in milliseconds."""
    preprocessing = classifier.metadata.preprocessing
    durations: list[list[float]] = []
    for index in range(STAGE_IMAGES):
        content = contents[index % len(contents)]
        moments = [time.perf_counter()]
        image = decode(content, preprocessing.decoded_size)
        moments.append(time.perf_counter())
        pixels = preprocessing.apply(image)[np.newaxis]
        moments.append(time.perf_counter())
        probabilities, labels = classifier.run(pixels)
        moments.append(time.perf_counter())
        classifier.rank(probabilities, labels, 0.0)
        moments.append(time.perf_counter())
        durations.append([1000 * (end - start) for start, end in pairwise(moments)])
    return dict(zip(STAGES, np.median(durations, axis=0).tolist(), strict=True))


def draw_image(classifier: Classifier) -> bytes:
    """Return a JPEG of the model's input size: noise on a gradient, like a real image."""
    size = classifier.metadata.preprocessing
    rng = np.random.default_rng(0)
    gradient = np.linspace(40, 200, size.width)[np.newaxis, :, np.newaxis]
    noise = rng.normal(0, 8, (size.height, size.width, 3))
    image = Image.fromarray((gradient + noise).clip(0, 255).astype(np.uint8))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def read_peak_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """Return the peak memory of this process in 10^6 bytes; None on other systems than Linux."""
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    peaks = [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else None


def read_gpu_mb() -> float | None:
    """Return the used memory of the first GPU in 10^6 bytes; None without `nvidia-smi`."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    mebibytes = next(iter(result.stdout.splitlines()), "").strip()
    return float(mebibytes) * 1024**2 / 1e6 if mebibytes.isdecimal() else None


def main() -> None:
    """Run the trial given as a JSON argument and print its result, or its error, as JSON."""
    try:
        trial = Trial(**json.loads(sys.argv[1]))
        answer = (
            {"attempts": [asdict(attempt) for attempt in run_server(trial)]}
            if trial.max_rate
            else asdict(run_trial(trial))
        )
    except BoatsError as error:
        answer = {"error": str(error), "exit_code": error.exit_code}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
