"""What a customer installs: light where it runs, whole where it is built, the same everywhere."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import boats_runtime

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

HEAVY_MODULES = {
    "torch", "torchvision", "sklearn", "scipy", "skops", "safetensors", "onnx", "onnxscript",
    "skl2onnx", "matplotlib", "jinja2", "pydantic", "boats_train", "boats_export",
    "boats_evaluate",
}  # fmt: skip
HEAVY_PACKAGES = {
    "torch", "torchvision", "scikit-learn", "scipy", "skops", "safetensors", "onnx", "onnxscript",
    "skl2onnx", "matplotlib", "jinja2", "onnxruntime-gpu",
}  # fmt: skip

PAGE = {path.name for path in (ROOT / "evaluate" / "boats_evaluate" / "page").iterdir()}

RUN_AND_LIST_MODULES = """
import json, sys
from boats_runtime.cli.predict import main
sys.argv[0] = "boats-predict"
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def run(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs a program as outside of this checkout: no options of the tests' environment."""
    unset = ("BOATS_", "PYTHONPATH", "VIRTUAL_ENV")
    env = {key: value for key, value in os.environ.items() if not key.startswith(unset)}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=env, capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip


def do(*words: object, cwd: Path = ROOT) -> str:
    """Runs a program that must succeed, and returns what it printed."""
    result = run(*words, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    do(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
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
    """Installs into a new environment, and returns the folder of its programs."""
    if UV is None:
        pytest.skip("needs uv to make an environment: pip install uv")
    do(UV, "venv", "--quiet", "--python", sys.executable, folder)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = programs / "python"
    do(UV, "pip", "install", "--quiet", "--python", python, "-c", constraints, requirement)
    return programs


@pytest.fixture(scope="module")
def edge(wheel: Path, constraints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with `boats[cpu]` alone."""
    folder = tmp_path_factory.mktemp("edge") / "venv"
    return install(folder, f"boats[cpu] @ {wheel.as_uri()}", constraints)


# --- light


def test_boats_predict__imports_nothing_heavy(
    tiny_model: Path, image_path: Path, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", RUN_AND_LIST_MODULES, "--model", tiny_model, image_path],
        cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode == 0
    modules = set(json.loads(result.stderr.splitlines()[-1]))
    assert {"onnxruntime", "numpy", "PIL"} <= modules
    assert not modules & HEAVY_MODULES


@pytest.mark.parametrize(
    "code",
    ["import boats_runtime", "import boats_runtime.cli.predict", "import boats_runtime.cli.app"],
)
def test_boats_runtime__import_waits_for_what_needs_it(code: str) -> None:
    listed = do(sys.executable, "-c", f"{code}; import sys; print(*sys.modules)").split()
    assert "boats_runtime" in listed
    assert not set(listed) & (HEAVY_MODULES | {"numpy", "PIL", "onnxruntime"})


def test_edge__has_nothing_heavy(edge: Path) -> None:
    rows = json.loads(do(UV, "pip", "list", "--format", "json", "--python", edge / "python"))
    installed = {row["name"] for row in rows}
    assert {"boats", "onnxruntime", "numpy", "pillow", "typer"} <= installed
    assert not installed & HEAVY_PACKAGES


def test_edge__predicts(edge: Path, tiny_model: Path, image_path: Path, tmp_path: Path) -> None:
    out = do(edge / "boats-predict", "--json", "--model", tiny_model, image_path, cwd=tmp_path)
    (prediction,) = json.loads(out)["predictions"]
    assert prediction["label"] in {"barca lunga", "gòndola", "topa"}


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("boats-train", "boats[train]"),
        ("boats-export", "boats[export]"),
        ("boats-evaluate boats.onnx photos", "boats[evaluate]"),
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


@pytest.mark.parametrize(
    "command", ["boats-predict", "boats-train", "boats-export", "boats-evaluate"]
)
def test_edge__help_needs_no_extra(edge: Path, tmp_path: Path, command: str) -> None:
    assert f"Usage: {command}" in do(edge / command, "--help", cwd=tmp_path)


def test_bare_install__names_the_line_to_type(
    wheel: Path, constraints: Path, tiny_model: Path, image_path: Path, tmp_path: Path
) -> None:
    programs = install(tmp_path / "venv", str(wheel), constraints)
    result = run(programs / "boats-predict", "--model", tiny_model, image_path, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == (
        "boats-predict: ONNX Runtime is not installed: pip install 'boats[cpu]', "
        "or 'boats[gpu]' for CUDA\n"
    )


# --- whole


def test_wheel__holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    packages = ("boats_runtime", "boats_train", "boats_export", "boats_evaluate")
    information = f"boats-{version('boats')}.dist-info"
    assert {name.split("/")[0] for name in names} == {*packages, information}
    for package in packages:
        assert {f"{package}/py.typed", f"{package}/cli.py"} <= set(names)
    assert {f"boats_evaluate/page/{name}" for name in PAGE} <= set(names)
    assert f"{information}/licenses/LICENSE" in names
    assert not [name for name in names if "test" in name.lower()]


def test_wheel__is_for_every_platform(wheel: Path) -> None:
    assert wheel.name == f"boats-{version('boats')}-py3-none-any.whl"


def test_version__is_the_same_in_code_and_metadata() -> None:
    assert boats_runtime.__version__ == version("boats")


# --- reproducible


def test_requirements__name_no_index() -> None:
    files = sorted((ROOT / "requirements").iterdir())
    assert {"bench.txt", "dev.txt", "uv.txt"} <= {path.name for path in files}
    for path in files:
        text = path.read_text().lower()
        found = [
            word for word in ("://", "index-url", "find-links", "trusted-host") if word in text
        ]
        assert not found, path


def test_requirements__pin_every_package_by_hash() -> None:
    for name in ("dev.txt", "uv.txt", "bench.txt"):
        text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        assert lines
        assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_uv_lock__is_not_tracked() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout: what is tracked can't be told here")
    tracked = do("git", "ls-files").splitlines()
    assert "pyproject.toml" in tracked
    assert "uv.lock" not in tracked
