"""What the tests share: a drawn picture set, a run and a model made of it, the commands."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    import onnx

    from boats_runtime.classifier import Classifier
    from boats_train.runs.run import Run

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands have it

# PyTorch and the rest are imported by the fixtures that use them: most tests don't.

CLASSES = ("barca lunga", "gòndola", "topa")
COUNTS = {"train": (6, 4, 3), "valid": (3, 2, 2), "test": (2, 1, 1)}
COLOURS = ((190, 60, 50), (30, 40, 60), (60, 150, 190))
WIDTH, HEIGHT = 200, 60

Command = Callable[..., subprocess.CompletedProcess[str]]


def draw(kind: int, rng: np.random.Generator) -> Image.Image:
    """Draws a small photo: noisy water, and on it a shape that tells its class."""
    noise = rng.integers(90, 170, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    pen = ImageDraw.Draw(image)
    left, top = int(rng.integers(5, 40)), int(rng.integers(5, 20))
    box = (left, top, left + 110 + 15 * kind, top + 30)
    shape = (pen.rectangle, pen.ellipse, pen.rounded_rectangle)[kind]
    shape(box, fill=COLOURS[kind])
    return image


@pytest.fixture(scope="session")
def photo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture set of three classes of unequal size, with `train`, `valid` and `test`."""
    root = tmp_path_factory.mktemp("photo-set")
    rng = np.random.default_rng(0)
    for split, counts in COUNTS.items():
        for kind, (name, count) in enumerate(zip(CLASSES, counts, strict=True)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                draw(kind, rng).save(folder / f"{number:02}.jpg", quality=90)
    return root


@pytest.fixture(scope="session")
def photo(photo_set: Path) -> Path:
    """A photo of the class `topa`."""
    return photo_set / "test" / "topa" / "00.jpg"


@pytest.fixture(scope="session")
def tiny_run(photo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run trained on `photo_set`: random ResNet18 and SVM, at 64x160."""
    from boats_data.dataset import scan_dataset
    from boats_train.pipeline import Workspace, train_model
    from boats_train.runs.config import TrainConfig
    from boats_train.runs.run import write_run

    config = TrainConfig(str(photo_set), "svm", "resnet18", "none", 64, 160, tune=False)
    runs = tmp_path_factory.mktemp("runs")
    workspace = Workspace(None, runs / "work", resume=False, log=lambda _: None)
    result = train_model(config, scan_dataset(photo_set), workspace)
    return write_run(result.run, runs, "tiny")


@pytest.fixture(scope="session")
def loaded_run(tiny_run: Path) -> "Run":
    """`tiny_run` read back."""
    from boats_train.runs.run import load_run

    return load_run(tiny_run)


@pytest.fixture(scope="session")
def tiny_model(loaded_run: "Run", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_run` exported and proved on its valid photos."""
    from boats_export.export import Settings, export_run
    from boats_export.verification_images import load_verification_images

    out = tmp_path_factory.mktemp("model") / "boats.onnx"
    valid = load_verification_images(loaded_run, None, "valid")
    export_run(loaded_run, out, valid, None, Settings(), lambda _: None)
    return out


@pytest.fixture(scope="session")
def tiny_network(loaded_run: "Run") -> "onnx.ModelProto":
    """The network of `tiny_run` as a graph; to be copied before it is changed."""
    from boats_export.network import export_network

    return export_network(loaded_run.network, loaded_run.preprocessing)


@pytest.fixture(scope="session")
def classifier(tiny_model: Path) -> "Classifier":
    """`tiny_model` opened on the CPU."""
    from boats_runtime.classifier import Classifier

    return Classifier(tiny_model, "cpu")


@pytest.fixture(scope="session")
def boats_data() -> Path:
    """The folder of the real photos that BOATS_DATA names."""
    return _named_by("BOATS_DATA", "a folder with train/ and valid/ of real photos", Path.is_dir)


@pytest.fixture(scope="session")
def boats_weights() -> Path:
    """The ImageNet MobileNetV2 that BOATS_WEIGHTS names."""
    return _named_by("BOATS_WEIGHTS", "a state dict of mobilenet_v2", Path.is_file)


@pytest.fixture(scope="session")
def boats_command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Runs a command as a shell would: `boats_command("boats-predict", photo, cwd=folder)`.

    Options of the tests' own environment don't reach it: its variables are the caller's without
    `BOATS_*`, and `env`; the cache of features is its own. Standard output and error come back
    apart, as text.
    """
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}

    def run(
        name: str, *arguments: object, cwd: Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / name, *map(str, arguments)],
            cwd=cwd,
            env=clean_environment() | cache | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return run


LAUNCHER = """
import os, resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
if limit := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and the folder that it ran in."""

    folder: Path
    code: int
    output: str
    errors: str

    def files(self) -> dict[str, int]:
        """The names and sizes of what lies in the folder, but for folders."""
        return {path.name: path.stat().st_size for path in self.folder.iterdir() if path.is_file()}


@pytest.fixture(scope="session")
def outcome_of() -> Callable[..., Outcome]:
    """Runs a command in a process that may run out of disk or be interrupted.

    `outcome_of(name, folder, *arguments, env={}, largest_file=0, interrupt_at="")`: the folder is
    made when missing, `env` is added to the environment, a file of more than `largest_file` bytes
    can't be written (0 for any size), and Ctrl-C comes as soon as standard error has a line with
    `interrupt_at`.
    """

    def run(
        name: str,
        folder: Path,
        *arguments: object,
        env: dict[str, str] | None = None,
        largest_file: int = 0,
        interrupt_at: str = "",
    ) -> Outcome:
        folder.mkdir(exist_ok=True)
        command = [str(Path(sys.executable).parent / name), *map(str, arguments)]
        errors = ""
        with subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(largest_file), *command],
            cwd=folder,
            env=clean_environment() | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as process:
            assert process.stdout
            assert process.stderr
            for line in process.stderr:
                errors += line
                if interrupt_at and interrupt_at in line:
                    process.send_signal(signal.SIGINT)
            output = process.stdout.read()
        return Outcome(folder, process.returncode, output, errors)

    return run


def clean_environment() -> dict[str, str]:
    """Returns the environment without what is meant for boats or decides how it prints."""
    return {key: value for key, value in os.environ.items() if not key.startswith("BOATS_")}


def _named_by(variable: str, what: str, is_there: Callable[[Path], bool]) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names {what}")
    if not is_there(Path(value)):
        pytest.skip(f"{variable}={value} is not there: it names {what}")
    return Path(value)
