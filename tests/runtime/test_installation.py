"""Hints name a command that installs an extra from where boats came from."""

import importlib.metadata
import json
import shlex
from pathlib import Path

import pytest

from boats_runtime import installation
from boats_runtime.cli.app import require_extra
from boats_runtime.errors import UsageError
from boats_runtime.installation import install_command


@pytest.fixture
def install_boats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metadata of an installed boats, which the tests can change."""
    folder = tmp_path / "site-packages" / "boats-0.2.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: boats\nVersion: 0.2.0\n")
    monkeypatch.syspath_prepend(folder.parent)
    return folder


def test_install_command__wheel_or_index(install_boats: Path) -> None:
    assert install_command("cpu") == "pip install 'boats[cpu]'"
    url = "file:///tmp/boats-0.2.0-py3-none-any.whl"
    record = {"url": url, "archive_info": {"hashes": {}}}
    (install_boats / "direct_url.json").write_text(json.dumps(record))
    assert install_command("train,export") == "pip install 'boats[train,export]'"


@pytest.mark.parametrize("editable", [True, False])
def test_install_command__clone(install_boats: Path, tmp_path: Path, editable: bool) -> None:
    clone = tmp_path / "my 'boats'"
    record = {"url": clone.as_uri(), "dir_info": {"editable": True} if editable else {}}
    (install_boats / "direct_url.json").write_text(json.dumps(record))
    words = ["pip", "install", *(["-e"] if editable else []), f"{clone}[gpu]"]
    assert shlex.split(install_command("gpu")) == words


def test_install_command__not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(_: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "distribution", find_nothing)
    monkeypatch.setattr(installation, "CLONE", tmp_path)
    assert install_command("cpu") == "pip install 'boats[cpu]'"
    (tmp_path / "pyproject.toml").touch()
    assert install_command("cpu") == f"pip install -e '{tmp_path}[cpu]'"


def test_require_extra__names_the_clone(install_boats: Path, tmp_path: Path) -> None:
    record = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    (install_boats / "direct_url.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"pip install -e '.*train\]'$"):
        require_extra("boats-test", "train", ["no_such_module"])
