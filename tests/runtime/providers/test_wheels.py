import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import boats_runtime
from boats_runtime.providers.wheels import import_onnxruntime

IMPORT = """
from boats_runtime.errors import ProviderError
from boats_runtime.providers.wheels import import_onnxruntime
try:
    print(import_onnxruntime().__name__)
except ProviderError as error:
    print("ProviderError:", error)
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder of packages: links to all that are installed here, but ONNX Runtime."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for entry in Path(np.__file__).parents[1].iterdir():
        if not entry.name.startswith(("onnxruntime", "__")) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    (folder / "boats_runtime").unlink(missing_ok=True)
    (folder / "boats_runtime").symlink_to(Path(boats_runtime.__file__).parent)
    return folder


def import_with(packages: Path) -> str:
    """Imports ONNX Runtime in a new interpreter that has these packages and no others."""
    result = subprocess.run(
        [sys.executable, "-S", "-c", IMPORT],
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


def test_import_onnxruntime__one_is_installed() -> None:
    assert import_onnxruntime() is onnxruntime


def test_import_onnxruntime__none_is_installed(packages: Path) -> None:
    message = import_with(packages)
    assert message.startswith("ProviderError: ONNX Runtime is not installed")
    assert "pip install 'boats[cpu]'" in message
    assert "'boats[gpu]'" in message


def test_import_onnxruntime__without_metadata_it_is_still_found(packages: Path) -> None:
    package = Path(onnxruntime.__file__).parent
    (packages / "onnxruntime").symlink_to(package)
    assert import_with(packages) == "onnxruntime\n"


def test_import_onnxruntime__two_are_installed(packages: Path) -> None:
    (packages / "onnxruntime").symlink_to(Path(onnxruntime.__file__).parent)
    add_distribution(packages, "onnxruntime")
    add_distribution(packages, "onnxruntime-gpu")
    message = import_with(packages)
    assert message.startswith("ProviderError: onnxruntime and onnxruntime-gpu are both installed")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
    assert "pip install 'boats[cpu]'" in message


@pytest.mark.parametrize("left", ["nothing", "empty folder", "half a package"])
def test_import_onnxruntime__one_of_two_was_removed(packages: Path, left: str) -> None:
    add_distribution(packages, "onnxruntime")
    if left != "nothing":
        (packages / "onnxruntime").mkdir()
    if left == "half a package":
        (packages / "onnxruntime" / "__init__.py").write_text("from onnxruntime import capi\n")
    message = import_with(packages)
    assert message.startswith("ProviderError: ONNX Runtime is installed but broken")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
    assert "pip install 'boats[cpu]'" in message
