"""Writes benchmarks/README.md, its plot and the README's table from the JSON of the last runs.

    python benchmarks/write_readme.py

No number in them is typed. What was not run stands there as not measured.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from boats_runtime.files import write_atomic

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SCRIPTS = (
    "peers", "profile_int8", "providers", "precisions", "cold_start", "folder", "svm_graph",
    "training",
)  # fmt: skip
PLOT = "peers.png"
MARK = re.compile(r"(<!-- peers -->\n).*?(<!-- /peers -->)", re.DOTALL)
LIBRARIES = (
    "boats", "onnxruntime", "onnxruntime-gpu", "torch", "openvino", "scikit-learn", "skl2onnx",
    "ultralytics", "numpy", "pillow",
)  # fmt: skip

HEADER = """# Benchmarks

Written by `python benchmarks/write_readme.py` from the JSON that each script leaves in
`benchmarks/results/`, raw values included; `make bench` runs all of them and then this. Ratios are
of medians, of sides that took turns in one run, with 95 % intervals from drawing starts and rounds
again; `python benchmarks/agree.py` compares two runs. p99 is only told of 1,000 runs and more.
`boats-benchmark` measures your own file on your own machine.
"""


def main() -> None:
    """Writes the pages."""
    sections = [HEADER]
    for name in SCRIPTS:
        sections.append(describe(name))
        if name == "peers" and (RESULTS / "peers.json").is_file():
            peers = load(name)
            draw(peers["peers"], HERE / PLOT)
            sections.append(f"![Median time of one photo, by what runs it]({PLOT})\n")
            put_into_readme(HERE.parent / "README.md", peers)
    write_atomic(HERE / "README.md", "\n".join(sections).encode())


def load(name: str) -> dict[str, Any]:
    """Reads what a script left."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def describe(name: str) -> str:
    """Returns a script's section: what it compares, its table, and what that depended on."""
    told = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))) or ""
    title, _, rest = told.partition("\n")
    about = re.sub(r"\s*Exits\s+with\s+5\s+if\s+a\s+target\s+is\s+missed\.", "", rest).strip("\n")
    lines = [f"## {title.rstrip('.')}", "", about, ""]
    if not (RESULTS / f"{name}.json").is_file():
        return "\n".join([*lines, "Not measured.", ""])
    result = load(name)
    lines += [result["table"], "", *circumstances(result["circumstances"]), ""]
    return "\n".join(lines)


def circumstances(told: dict[str, Any]) -> list[str]:
    """Returns the machine, the versions, the commit and the time of a run."""
    libraries = told["libraries"]
    versions = ", ".join(f"{one} {libraries[one]}" for one in LIBRARIES if one in libraries)
    lines = [
        f"{told['when']}, commit {told['commit']}, {told['cpu']}, {told['cores_granted']} cores, "
        f"Python {told['python']}, {versions}."
    ]
    return lines + [f"\n**Warning: {warning}**" for warning in told["warnings"]]


def put_into_readme(readme: Path, peers: dict[str, Any]) -> None:
    """Puts the table of the peers between its marks in the README."""
    told = peers["circumstances"]
    where = f"{told['cpu']}, {told['cores_granted']} cores, commit {told['commit']}"
    block = (
        f"{peers['table']}\n\nResNet50 at 240x800 on {where}; `python benchmarks/peers.py`, and "
        "[more of them](benchmarks/README.md).\n"
    )
    content = readme.read_text(encoding="utf-8")
    changed, count = MARK.subn(lambda match: match[1] + block + match[2], content)
    if count != 1:
        raise SystemExit(f"{readme}: has no place for the table (<!-- peers -->)")
    write_atomic(readme, changed.encode())


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draws the median times as bars, the quickest above."""
    ordered = sorted(rows.items(), key=lambda one: -float(one[1]["p50_ms"]))
    names, times = [name for name, _ in ordered], [row["p50_ms"] for _, row in ordered]
    colours = ["#0b7285" if name.startswith("boats") else "#adb5bd" for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.38 * len(names) + 1), layout="constrained")
    bars = axes.barh(names, times, color=colours)
    axes.bar_label(bars, fmt="%.0f ms", padding=4)
    axes.set(xlabel="median time of one photo, ms", xlim=(0, max(times) * 1.12))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
