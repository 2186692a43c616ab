"""benchmarks/write_readme.py, on results that are made up."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "write_readme.py"
TOLD = {
    "when": "2026-01-02T03:04:05Z",
    "commit": "abc",
    "cpu": "Some CPU",
    "cores_granted": 2,
    "python": "3.11.7",
    "libraries": {"torch": "2.15.0", "requests": "1.0"},
    "warnings": ["others used 1.0 cores before"],
}
PEERS = {"boats int8": {"p50_ms": 40.0}, "PyTorch eager fp32": {"p50_ms": 260.0}}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, in a folder of its own beside a README."""
    spec = importlib.util.spec_from_file_location("write_readme", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    here = tmp_path / "benchmarks"
    (here / "results").mkdir(parents=True)
    for name in module.SCRIPTS:
        about = "    python it\n\nWhat it does. Exits with 5 if a\ntarget is missed."
        (here / f"{name}.py").write_text(f'"""Title of {name}.\n\n{about}\n"""\n')
    monkeypatch.setattr(module, "HERE", here)
    monkeypatch.setattr(module, "RESULTS", here / "results")
    (tmp_path / "README.md").write_text("before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n")
    return module


def leave(page: ModuleType, name: str, **more: Any) -> None:
    result = {"table": f"| table of {name} |", "circumstances": TOLD, **more}
    (page.RESULTS / f"{name}.json").write_text(json.dumps(result))


def test_main__nothing_was_measured(page: ModuleType, tmp_path: Path) -> None:
    page.main()
    text = (page.HERE / "README.md").read_text()
    assert text.count("Not measured.") == len(page.SCRIPTS)
    assert "old" in (tmp_path / "README.md").read_text()


def test_main__tables_circumstances_and_plot(page: ModuleType, tmp_path: Path) -> None:
    leave(page, "peers", peers=PEERS)
    leave(page, "folder")
    page.main()
    text = (page.HERE / "README.md").read_text()
    assert "## Title of folder\n\n    python it\n\nWhat it does.\n\n| table of folder |" in text
    assert (
        "2026-01-02T03:04:05Z, commit abc, Some CPU, 2 cores, Python 3.11.7, torch 2.15.0." in text
    )
    assert "**Warning: others used 1.0 cores before**" in text
    assert text.count("Not measured.") == len(page.SCRIPTS) - 2
    assert (page.HERE / "peers.png").stat().st_size > 1000
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n<!-- peers -->\n| table of peers |\n")
    assert readme.endswith("<!-- /peers -->\nafter\n")
    assert "old" not in readme


def test_main__twice_is_the_same(page: ModuleType, tmp_path: Path) -> None:
    leave(page, "peers", peers=PEERS)
    page.main()
    first = (tmp_path / "README.md").read_text(), (page.HERE / "README.md").read_text()
    page.main()
    assert first == ((tmp_path / "README.md").read_text(), (page.HERE / "README.md").read_text())


def test_main__readme_without_a_place(page: ModuleType, tmp_path: Path) -> None:
    leave(page, "peers", peers=PEERS)
    (tmp_path / "README.md").write_text("nothing\n")
    with pytest.raises(SystemExit, match="has no place for the table"):
        page.main()
    assert (tmp_path / "README.md").read_text() == "nothing\n"


def test_scripts__each_is_there(page: ModuleType) -> None:
    assert all((FILE.parent / f"{name}.py").is_file() for name in page.SCRIPTS)
