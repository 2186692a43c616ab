import os
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import boats_runtime
from boats_runtime.installation import install_command
from boats_runtime.providers.wheels import import_onnxruntime
from support.process import module_command


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with links to all installed packages except ONNX Runtime."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        if not entry.name.startswith(("onnxruntime", "__")) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    (folder / "boats_runtime").unlink(missing_ok=True)
    (folder / "boats_runtime").symlink_to(Path(boats_runtime.__file__).parent)
    return folder


def run_import(packages: Path) -> str:
    """Import ONNX Runtime in an interpreter with these packages only, and return its output."""
    interpreter, *program = module_command("support.import_onnxruntime")
    result = subprocess.run(
        [interpreter, "-S", *program],
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def add_distribution(packages: Path, name: str) -> None:
    folder = packages / f"{name.replace('-', '_')}-1.28.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.28.0\n")


def test_import_onnxruntime__one_wheel() -> None:
    assert import_onnxruntime() is onnxruntime


def test_import_onnxruntime__no_wheel(packages: Path) -> None:
    message = run_import(packages)
    assert message.startswith("ProviderError: ONNX Runtime is not installed")
    assert install_command("cpu") in message
    assert install_command("gpu") in message


def test_import_onnxruntime__package_without_metadata(packages: Path) -> None:
    (packages / "onnxruntime").symlink_to(Path(onnxruntime.__file__).parent)
    assert run_import(packages) == "onnxruntime\n"


def test_import_onnxruntime__two_wheels(packages: Path) -> None:
    (packages / "onnxruntime").symlink_to(Path(onnxruntime.__file__).parent)
    add_distribution(packages, "onnxruntime")
    add_distribution(packages, "onnxruntime-gpu")
    message = run_import(packages)
    assert message.startswith("ProviderError: onnxruntime and onnxruntime-gpu are both installed")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
    assert install_command("cpu") in message


@pytest.mark.parametrize("remains", ["no folder", "empty folder", "half a package"])
def test_import_onnxruntime__one_of_two_wheels_removed(packages: Path, remains: str) -> None:
    add_distribution(packages, "onnxruntime")
    if remains != "no folder":
        (packages / "onnxruntime").mkdir()
    if remains == "half a package":
        (packages / "onnxruntime" / "__init__.py").write_text("from onnxruntime import capi\n")
    message = run_import(packages)
    assert message.startswith("ProviderError: ONNX Runtime is installed but broken")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
    assert install_command("cpu") in message
