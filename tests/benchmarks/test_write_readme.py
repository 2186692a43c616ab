import importlib
import json
from pathlib import Path
from typing import Any

import pytest

import write_readme

ENVIRONMENT = {
    "when": "2026-01-02T03:04:05Z",
    "commit": "abc",
    "cpu": "Some CPU",
    "cores_granted": 2,
    "python": "3.11.7",
    "libraries": {"torch": "2.15.0", "requests": "1.0"},
    "warnings": ["other processes used 1.0 cores"],
}
PEERS = {"boats int8": {"p50_ms": 40.0}, "PyTorch eager fp32": {"p50_ms": 260.0}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scripts without results, and a README beside their folder."""
    folder = tmp_path / "benchmarks"
    (folder / "results").mkdir(parents=True)
    for name in write_readme.SCRIPTS:
        description = "    python it\n\nDescription. Exits with 5 if a\ntarget is missed."
        (folder / f"{name}.py").write_text(f'"""Title of {name}.\n\n{description}\n"""\n')
    (tmp_path / "README.md").write_text("before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n")
    return folder


def write_result(folder: Path, name: str, **content: Any) -> None:
    record = {"table": f"| table of {name} |", "circumstances": ENVIRONMENT, **content}
    (folder / "results" / f"{name}.json").write_text(json.dumps(record))


def test_main__no_results(folder: Path) -> None:
    write_readme.main(folder)
    text = (folder / "README.md").read_text()
    assert text.count("Not measured.") == len(write_readme.SCRIPTS)
    assert "old" in (folder.parent / "README.md").read_text()


def test_main__tables_environment_and_plot(folder: Path) -> None:
    write_result(folder, "peers", peers=PEERS)
    write_result(folder, "folder")
    for _ in range(2):  # writing the pages again changes nothing
        write_readme.main(folder)
        text = (folder / "README.md").read_text()
        assert (
            "## Title of folder\n\n    python it\n\nDescription.\n\n| table of folder |\n\n"
            "2026-01-02T03:04:05Z, commit abc, Some CPU, 2 cores, Python 3.11.7, torch 2.15.0.\n\n"
            "**Warning: other processes used 1.0 cores**\n"
        ) in text
        assert text.count("Not measured.") == len(write_readme.SCRIPTS) - 2
        assert (folder / "peers.png").stat().st_size > 1000
        readme = (folder.parent / "README.md").read_text()
        assert readme.startswith("before\n<!-- peers -->\n| table of peers |\n")
        assert readme.endswith("<!-- /peers -->\nafter\n")
        assert "old" not in readme


@pytest.mark.parametrize(
    ("estimators", "outdated"),
    [(["SVC", "calibrated"], True), (["CalibratedSVC", "SVC"], True), (["CalibratedSVC"], False)],
)
def test_main__svm_results_of_another_estimator_are_outdated(
    folder: Path, estimators: list[str], outdated: bool
) -> None:
    write_result(folder, "svm_graph", rows=[{"estimator": name} for name in estimators])
    write_result(folder, "folder", rows=[{"estimator": "SVC"}])
    write_readme.main(folder)
    text = (folder / "README.md").read_text()
    assert text.count("recorded before the script measured the `CalibratedSVC`") == outdated
    if outdated:
        assert f"| table of svm_graph |\n\n{write_readme.OUTDATED_SVM}\n\n2026-" in text


def test_main__readme_without_marks(folder: Path) -> None:
    write_result(folder, "peers", peers=PEERS)
    readme = folder.parent / "README.md"
    readme.write_text("nothing\n")
    with pytest.raises(SystemExit, match="expected one pair of <!-- peers -->"):
        write_readme.main(folder)
    assert readme.read_text() == "nothing\n"


@pytest.mark.parametrize("name", [*write_readme.SCRIPTS, "features"])
def test_scripts__can_be_imported(name: str) -> None:
    assert callable(importlib.import_module(name).measure)
